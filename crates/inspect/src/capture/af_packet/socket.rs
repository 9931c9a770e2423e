//! A packet socket and the ring of blocks that the kernel fills for it (TPACKET_V3).
//!
//! The kernel and this process share the ring. A block belongs to one of the two, as its status
//! says; the kernel gives it over when it is full, or some milliseconds after its first packet.
//!
//! | block, from byte | what |
//! |---|---|
//! | 8 | status: 0 while it is the kernel's, bit 0 set once it is ours |
//! | 12 | number of packets |
//! | 16 | where the first packet begins, from the block's beginning |
//!
//! | packet, from byte | what |
//! |---|---|
//! | 0 | where the next packet begins, from this one's beginning |
//! | 4, 8 | seconds and nanoseconds of its time |
//! | 12, 16 | bytes captured, bytes sent |
//! | 26 | where its network header begins, from this packet's beginning |
//! | 48 | the address it was seen at (`sockaddr_ll`), with the interface's number from byte 52 |

#![allow(
    unsafe_code,
    reason = "the kernel's packet ring is memory that is shared with it, and its options are \
              structs that the kernel reads"
)]

use std::ffi::CString;
use std::io;
use std::mem::{offset_of, size_of};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use libc::{
    c_int, c_void, sock_filter, sock_fprog, sockaddr_ll, tpacket_block_desc, tpacket_hdr_v1,
    tpacket_req3, tpacket_stats_v3, tpacket3_hdr,
};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use crate::capture::Timestamp;

/// Bytes of a block: it must hold the largest packet, which is some more than 64 KiB.
const BLOCK: usize = 1 << 20;
/// How long the kernel waits for more packets before it gives a block over.
const BLOCK_PATIENCE: Duration = Duration::from_millis(20);

/// The number that the loopback interface has in every network namespace.
const LOOPBACK: u32 = 1;

/// Where a block's parts stand.
const STATUS: usize =
    offset_of!(tpacket_block_desc, hdr) + offset_of!(tpacket_hdr_v1, block_status);
const PACKETS: usize = offset_of!(tpacket_block_desc, hdr) + offset_of!(tpacket_hdr_v1, num_pkts);
const FIRST: usize =
    offset_of!(tpacket_block_desc, hdr) + offset_of!(tpacket_hdr_v1, offset_to_first_pkt);
/// Where the address stands behind a packet's header.
const ADDRESS: usize = size_of::<tpacket3_hdr>().next_multiple_of(libc::TPACKET_ALIGNMENT);

/// A socket that gets packets of one interface or of all.
#[derive(Debug)]
pub(super) struct PacketSocket {
    ring: Ring,
    socket: OwnedFd,
}

impl PacketSocket {
    /// Opens a socket in the network namespace of this thread, with about `bytes` of memory for
    /// packets that wait; `interface` is the number of one, 0 means all.
    pub(super) fn open(interface: u32, filter: &[sock_filter], bytes: usize) -> io::Result<Self> {
        // It gets no packets before it is bound, so that none passes without the filter.
        let kind = SocketType::DGRAM;
        let socket = socket_with(AddressFamily::PACKET, kind, SocketFlags::CLOEXEC, None)?;
        let program = sock_fprog {
            len: filter.len().try_into().unwrap_or(u16::MAX),
            filter: filter.as_ptr().cast_mut(),
        };
        set(&socket, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)?;
        if interface == LOOPBACK {
            // The filter has no use for what leaves there; so the kernel need not make a packet for
            // it. Before Linux 4.20 it cannot be told.
            let _ = set(
                &socket,
                libc::SOL_PACKET,
                libc::PACKET_IGNORE_OUTGOING,
                &1_i32,
            );
        }
        let version = libc::tpacket_versions::TPACKET_V3 as c_int;
        set(&socket, libc::SOL_PACKET, libc::PACKET_VERSION, &version)?;
        let blocks = (bytes / BLOCK).clamp(2, 4096);
        let request = tpacket_req3 {
            tp_block_size: BLOCK as u32,
            tp_block_nr: blocks as u32,
            // Packets lie one behind the other; the size only has to divide a block.
            tp_frame_size: 2048,
            tp_frame_nr: (blocks * BLOCK / 2048) as u32,
            tp_retire_blk_tov: BLOCK_PATIENCE.as_millis() as u32,
            tp_sizeof_priv: 0,
            tp_feature_req_word: 0,
        };
        set(&socket, libc::SOL_PACKET, libc::PACKET_RX_RING, &request)?;
        let ring = Ring::map(&socket, blocks)?;
        bind(&socket, interface)?;
        Ok(Self { ring, socket })
    }

    /// The next block that the kernel gave over, if there is one.
    pub(super) fn next_block(&mut self) -> Option<Block<'_>> {
        self.ring.next_block()
    }

    /// How many blocks the ring has.
    pub(super) fn blocks(&self) -> usize {
        self.ring.blocks
    }

    /// What happened to the socket since it was asked the last time.
    pub(super) fn error(&self) -> io::Result<()> {
        Ok(rustix::net::sockopt::socket_error(&self.socket)??)
    }

    /// How many packets found no room in the ring since it was asked the last time.
    pub(super) fn take_dropped(&self) -> io::Result<u32> {
        let mut statistics = tpacket_stats_v3 {
            tp_packets: 0,
            tp_drops: 0,
            tp_freeze_q_cnt: 0,
        };
        let mut length = size_of::<tpacket_stats_v3>() as libc::socklen_t;
        // SAFETY: the kernel writes at most `length` bytes, those of `statistics`, whose fields are
        // integers.
        let done = unsafe {
            libc::getsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                ptr::from_mut(&mut statistics).cast::<c_void>(),
                &mut length,
            )
        };
        done_or_error(done)?;
        Ok(statistics.tp_drops)
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The number of an interface in the network namespace of this thread.
pub(super) fn interface_number(name: &str) -> io::Result<u32> {
    let name = CString::new(name).map_err(|_| io::Error::from(io::ErrorKind::NotFound))?;
    // SAFETY: `name` is a string that ends with a zero byte and outlives the call.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(io::Error::last_os_error()),
        number => Ok(number),
    }
}

/// Sets an option of a socket.
fn set<T>(socket: &OwnedFd, level: c_int, name: c_int, value: &T) -> io::Result<()> {
    // SAFETY: the kernel reads `size_of::<T>()` bytes of `value`. What a filter's program points
    // to is alive in the only call that has one.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            ptr::from_ref(value).cast::<c_void>(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    done_or_error(done)
}

/// Has the packets of an interface come in, whatever their protocol: those that leave are seen
/// by no other choice.
fn bind(socket: &OwnedFd, interface: u32) -> io::Result<()> {
    let address = sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: (libc::ETH_P_ALL as u16).to_be(),
        sll_ifindex: interface as c_int,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    // SAFETY: the kernel reads `size_of::<sockaddr_ll>()` bytes of `address`.
    let done = unsafe {
        libc::bind(
            socket.as_raw_fd(),
            ptr::from_ref(&address).cast::<libc::sockaddr>(),
            size_of::<sockaddr_ll>() as libc::socklen_t,
        )
    };
    done_or_error(done)
}

fn done_or_error(done: c_int) -> io::Result<()> {
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// The memory that is shared with the kernel.
#[derive(Debug)]
struct Ring {
    memory: NonNull<u8>,
    blocks: usize,
    next: usize,
}

// SAFETY: the memory belongs to the ring alone, and is not tied to the thread that mapped it.
unsafe impl Send for Ring {}

impl Ring {
    fn map(socket: &OwnedFd, blocks: usize) -> io::Result<Self> {
        // SAFETY: a new mapping at an address that the kernel chooses touches no other memory.
        let memory = unsafe {
            libc::mmap(
                ptr::null_mut(),
                blocks * BLOCK,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                socket.as_raw_fd(),
                0,
            )
        };
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let memory = NonNull::new(memory.cast::<u8>()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self {
            memory,
            blocks,
            next: 0,
        })
    }

    fn next_block(&mut self) -> Option<Block<'_>> {
        // SAFETY: `next` is less than `blocks`, so the block is within the mapping, which lives
        // as long as the ring, which is borrowed for as long as the status is. Blocks begin at
        // pages, so the status is aligned, and the kernel uses it as an atomic word as well.
        let status = unsafe {
            let block = self.memory.add(self.next * BLOCK);
            AtomicU32::from_ptr(block.add(STATUS).cast::<u32>().as_ptr())
        };
        if status.load(Ordering::Acquire) & libc::TP_STATUS_USER == 0 {
            return None;
        }
        // SAFETY: the block is ours now, and the kernel does not write to it until its status is
        // set back, which `Block` does when it is dropped. The bytes are those behind the status.
        let bytes = unsafe {
            let block = self.memory.add(self.next * BLOCK);
            slice::from_raw_parts(block.add(PACKETS).as_ptr(), BLOCK - PACKETS)
        };
        self.next = (self.next + 1) % self.blocks;
        Some(Block { status, bytes })
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: this is the mapping that `map` made, with its length, and no block of it is
        // borrowed any more.
        unsafe {
            libc::munmap(self.memory.as_ptr().cast::<c_void>(), self.blocks * BLOCK);
        }
    }
}

/// A block of packets, which the kernel gets back when this is dropped.
#[derive(Debug)]
pub(super) struct Block<'a> {
    status: &'a AtomicU32,
    /// What stands from the number of packets on.
    bytes: &'a [u8],
}

/// A packet in a block.
#[derive(Debug)]
pub(super) struct Captured<'a> {
    pub(super) time: Timestamp,
    /// The number of the interface that it was seen at.
    pub(super) interface: u32,
    /// The bytes from the network header on.
    pub(super) data: &'a [u8],
    pub(super) original_len: u32,
}

impl Block<'_> {
    /// The packets in the order of their coming.
    pub(super) fn packets(&self) -> impl Iterator<Item = Captured<'_>> {
        let count = self.word(PACKETS).unwrap_or(0);
        let mut at = self.word(FIRST).unwrap_or(0) as usize;
        (0..count).map_while(move |_| {
            let packet = self.packet(at)?;
            at += self.word(at + offset_of!(tpacket3_hdr, tp_next_offset))? as usize;
            Some(packet)
        })
    }

    fn packet(&self, at: usize) -> Option<Captured<'_>> {
        let word = |offset| self.word(at + offset);
        let seconds = word(offset_of!(tpacket3_hdr, tp_sec))?;
        let nanoseconds = word(offset_of!(tpacket3_hdr, tp_nsec))?;
        let begins = self.bytes_at(at + offset_of!(tpacket3_hdr, tp_net))?;
        let begins = usize::from(u16::from_ne_bytes(*begins));
        let captured = word(offset_of!(tpacket3_hdr, tp_snaplen))? as usize;
        let data = self.bytes.get((at + begins).checked_sub(PACKETS)?..)?;
        Some(Captured {
            time: Timestamp(i64::from(seconds) * 1_000_000_000 + i64::from(nanoseconds)),
            interface: word(ADDRESS + offset_of!(sockaddr_ll, sll_ifindex))?,
            data: data.get(..captured)?,
            original_len: word(offset_of!(tpacket3_hdr, tp_len))?,
        })
    }

    fn word(&self, at: usize) -> Option<u32> {
        Some(u32::from_ne_bytes(*self.bytes_at(at)?))
    }

    fn bytes_at<const N: usize>(&self, at: usize) -> Option<&[u8; N]> {
        self.bytes.get(at.checked_sub(PACKETS)?..)?.first_chunk()
    }
}

impl Drop for Block<'_> {
    fn drop(&mut self) {
        self.status.store(libc::TP_STATUS_KERNEL, Ordering::Release);
    }
}
