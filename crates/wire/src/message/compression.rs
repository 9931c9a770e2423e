//! Compressed bodies: three bits of the system flag say how.
//!
//! | bits 8-10 | type | format |
//! |---|---|---|
//! | 0, 3 | ZLIB | RFC 1950 |
//! | 1 | LZ4 | LZ4 frames with independent blocks (the reference reads no linked ones) |
//! | 2 | ZSTD | RFC 8878 frames |
//!
//! Sources in the reference: `CompressionType`, `Lz4Compressor`, `ZlibCompressor`,
//! `ZstdCompressor`. 0 is what producers before the type bits wrote.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use lz4_flex::frame::{BlockMode, FrameDecoder, FrameEncoder, FrameInfo};

use super::MessageError;
use super::sys_flag::message::{
    COMPRESSION_LZ4, COMPRESSION_MASK, COMPRESSION_ZLIB, COMPRESSION_ZSTD,
};

/// An LZ4 frame's magic and descriptor; anything shorter is no frame.
const MIN_LZ4_FRAME: usize = 7;

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CompressionType {
    /// LZ4.
    Lz4,
    /// Zstandard.
    Zstd,
    /// ZLIB, the default.
    #[default]
    Zlib,
}

impl CompressionType {
    /// The type a message's system flag tells; whether the body is compressed at all tells
    /// another bit.
    ///
    /// # Errors
    /// [`MessageError::CompressionType`] for the values 4 to 7, which stand for nothing.
    pub fn of_sys_flag(sys_flag: i32) -> Result<CompressionType, MessageError> {
        match sys_flag & COMPRESSION_MASK {
            0 | COMPRESSION_ZLIB => Ok(CompressionType::Zlib),
            COMPRESSION_LZ4 => Ok(CompressionType::Lz4),
            COMPRESSION_ZSTD => Ok(CompressionType::Zstd),
            other => Err(MessageError::CompressionType(other >> 8)),
        }
    }

    /// The type of a name as in a client's settings: `LZ4`, `ZSTD` or `ZLIB`, in any case.
    pub fn of_name(name: &str) -> Option<CompressionType> {
        let name = name.trim();
        [
            CompressionType::Lz4,
            CompressionType::Zstd,
            CompressionType::Zlib,
        ]
        .into_iter()
        .find(|kind| kind.name().eq_ignore_ascii_case(name))
    }

    /// The type's name.
    pub const fn name(self) -> &'static str {
        match self {
            CompressionType::Lz4 => "LZ4",
            CompressionType::Zstd => "ZSTD",
            CompressionType::Zlib => "ZLIB",
        }
    }

    /// The bits of the system flag that tell the type.
    pub const fn sys_flag_bits(self) -> i32 {
        match self {
            CompressionType::Lz4 => COMPRESSION_LZ4,
            CompressionType::Zstd => COMPRESSION_ZSTD,
            CompressionType::Zlib => COMPRESSION_ZLIB,
        }
    }

    /// Compresses `plain`. `level` is 0 to 9 for ZLIB and -7 to 22 for ZSTD (what is outside
    /// counts as the nearest); LZ4 has but one.
    ///
    /// # Errors
    /// [`MessageError::Compress`] if the library fails, which only a lack of memory makes it.
    pub fn compress(self, plain: &[u8], level: i32) -> Result<Vec<u8>, MessageError> {
        let failed = |error: std::io::Error| MessageError::Compress {
            compression: self.name(),
            reason: error.to_string(),
        };
        match self {
            CompressionType::Lz4 => {
                let info = FrameInfo::new().block_mode(BlockMode::Independent);
                let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
                encoder.write_all(plain).map_err(failed)?;
                encoder.finish().map_err(|error| failed(error.into()))
            }
            CompressionType::Zstd => {
                zstd::bulk::compress(plain, level.clamp(-7, 22)).map_err(failed)
            }
            CompressionType::Zlib => {
                let level = Compression::new(level.clamp(0, 9) as u32);
                let mut encoder = ZlibEncoder::new(Vec::new(), level);
                encoder.write_all(plain).map_err(failed)?;
                encoder.finish().map_err(failed)
            }
        }
    }

    /// Decompresses `bytes` into at most `limit` bytes; never takes memory beyond that and the
    /// decoder's own window.
    ///
    /// # Errors
    /// [`MessageError::Decompress`] if the bytes are not whole or not of this type,
    /// [`MessageError::DecompressedTooLarge`] if there are more than `limit`.
    pub fn decompress(self, bytes: &[u8], limit: usize) -> Result<Vec<u8>, MessageError> {
        let damaged = |reason: String| MessageError::Decompress {
            compression: self.name(),
            reason,
        };
        let read = |error: std::io::Error| damaged(error.to_string());
        if bytes.is_empty() && self != CompressionType::Lz4 {
            // Nothing decompresses to nothing, as in the reference.
            return Ok(Vec::new());
        }
        match self {
            CompressionType::Lz4 => {
                // The decoder takes a stream that stops here for an empty one.
                if bytes.len() < MIN_LZ4_FRAME {
                    return Err(damaged("the frame's head is not whole".into()));
                }
                self.read_limited(FrameDecoder::new(bytes), limit)
            }
            CompressionType::Zstd => {
                let decoder = zstd::stream::read::Decoder::with_buffer(bytes).map_err(read)?;
                self.read_limited(decoder, limit)
            }
            CompressionType::Zlib => self.read_limited(ZlibDecoder::new(bytes), limit),
        }
    }

    fn read_limited(self, decoder: impl Read, limit: usize) -> Result<Vec<u8>, MessageError> {
        let mut plain = Vec::new();
        let ceiling = (limit as u64).saturating_add(1);
        decoder
            .take(ceiling)
            .read_to_end(&mut plain)
            .map_err(|error| MessageError::Decompress {
                compression: self.name(),
                reason: error.to_string(),
            })?;
        if plain.len() > limit {
            return Err(MessageError::DecompressedTooLarge { limit });
        }
        Ok(plain)
    }
}
