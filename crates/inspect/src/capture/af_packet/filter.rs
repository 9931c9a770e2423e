//! What the kernel keeps of all traffic: a program of the classic Berkeley packet filter.
//!
//! The socket gives packets from their network header on, so all offsets are those of IPv4 and
//! IPv6. A packet is kept if it is TCP, has one of the ports and one of the hosts at either end,
//! belongs to a connection of the sample, and is not the second sight of a packet that a loopback interface carries: those are seen when
//! they leave and again when they arrive. Fragments but the first, and IPv6 packets with extension
//! headers before TCP, have no ports where the program looks and are not kept.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libc::{
    ARPHRD_LOOPBACK, BPF_ABS, BPF_ADD, BPF_ALU, BPF_B, BPF_H, BPF_IND, BPF_JA, BPF_JEQ, BPF_JMP,
    BPF_JSET, BPF_K, BPF_LD, BPF_LDX, BPF_MEM, BPF_MOD, BPF_MSH, BPF_MUL, BPF_RET, BPF_RSH, BPF_ST,
    BPF_W, BPF_X, ETH_P_IP, ETH_P_IPV6, IPPROTO_TCP, PACKET_OUTGOING, SKF_AD_HATYPE, SKF_AD_OFF,
    SKF_AD_PKTTYPE, SKF_AD_PROTOCOL, sock_filter,
};

use crate::capture::live::{Live, PORTS_FACTOR};

/// Most instructions that the kernel takes (BPF_MAXINSNS).
const MAX_INSTRUCTIONS: usize = 4096;

/// The answer that keeps a packet: so many of its bytes at most.
const KEEP: u32 = u32::MAX;

/// The program that keeps what is wanted by port, host and sample. `None` when these are more ports
/// and hosts than the kernel takes.
pub(super) fn program(live: &Live) -> Option<Vec<sock_filter>> {
    let (ports, sample) = (&live.ports, live.sample);
    let hosts = live.hosts.iter().map(IpAddr::to_canonical);
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for host in hosts {
        match host {
            IpAddr::V4(host) => v4.push(host),
            IpAddr::V6(host) => v6.push(host),
        }
    }
    let no_hosts = v4.is_empty() && v6.is_empty();

    let mut ipv4 = vec![load(BPF_B, 9), equal(IPPROTO_TCP as u32, 1, 0), ret(0)];
    ipv4.extend([load(BPF_H, 6), jump(BPF_JSET, 0x1fff, 0, 1), ret(0)]);
    // The length of the header, to which the ports are relative.
    let header = instruction(BPF_LDX | BPF_B | BPF_MSH, 0);
    ipv4.push(header);
    if sample > 1 {
        ipv4.extend(in_sample(sample, BPF_IND, 0));
        ipv4.push(header);
    }
    let mut then = ports_at(ports, BPF_IND, 0);
    if !no_hosts {
        then = either_host(&v4, then);
    }
    ipv4.append(&mut then);

    let mut ipv6 = vec![load(BPF_B, 6), equal(IPPROTO_TCP as u32, 1, 0), ret(0)];
    if sample > 1 {
        ipv6.extend(in_sample(sample, BPF_ABS, 40));
    }
    let mut then = ports_at(ports, BPF_ABS, 40);
    if !no_hosts {
        then = either_long_host(&v6, then);
    }
    ipv6.append(&mut then);

    let of_packet = |what: i32| (SKF_AD_OFF + what) as u32;
    let mut program = vec![
        load(BPF_B, of_packet(SKF_AD_PKTTYPE)),
        equal(u32::from(PACKET_OUTGOING), 0, 3),
        load(BPF_H, of_packet(SKF_AD_HATYPE)),
        equal(u32::from(ARPHRD_LOOPBACK), 0, 1),
        ret(0),
        load(BPF_H, of_packet(SKF_AD_PROTOCOL)),
        equal(ETH_P_IP as u32, 0, 1),
        skip(3),
        equal(ETH_P_IPV6 as u32, 0, 1),
        skip(1 + ipv4.len()),
        ret(0),
    ];
    program.append(&mut ipv4);
    program.append(&mut ipv6);
    (program.len() <= MAX_INSTRUCTIONS).then_some(program)
}

/// Keeps what has one of the ports at either end; the TCP header stands at `offset`, or behind
/// what the index register says.
fn ports_at(ports: &[u16], mode: u32, offset: u32) -> Vec<sock_filter> {
    if ports.is_empty() {
        return vec![ret(KEEP)];
    }
    let mut program = Vec::new();
    for end in [0, 2] {
        program.push(instruction(BPF_LD | BPF_H | mode, offset + end));
        for port in ports {
            program.extend([equal(u32::from(*port), 0, 1), ret(KEEP)]);
        }
    }
    program.push(ret(0));
    program
}

/// Goes on if the connection is in the sample, which is the same for both of its directions. The
/// index register is used.
fn in_sample(sample: u16, mode: u32, offset: u32) -> [sock_filter; 10] {
    [
        instruction(BPF_LD | BPF_H | mode, offset),
        instruction(BPF_ST, 0),
        instruction(BPF_LD | BPF_H | mode, offset + 2),
        instruction(BPF_LDX | BPF_MEM, 0),
        instruction(BPF_ALU | BPF_ADD | BPF_X, 0),
        instruction(BPF_ALU | BPF_MUL | BPF_K, PORTS_FACTOR),
        instruction(BPF_ALU | BPF_RSH | BPF_K, 16),
        instruction(BPF_ALU | BPF_MOD | BPF_K, u32::from(sample)),
        equal(0, 1, 0),
        ret(0),
    ]
}

/// Goes on with `then` if one of the hosts sends or receives.
fn either_host(hosts: &[Ipv4Addr], then: Vec<sock_filter>) -> Vec<sock_filter> {
    let total = 2 * (1 + 2 * hosts.len()) + 1;
    let mut program = Vec::new();
    for end in [12, 16] {
        program.push(load(BPF_W, end));
        for host in hosts {
            program.push(equal(host.to_bits(), 0, 1));
            program.push(skip(total - program.len() - 1));
        }
    }
    program.push(ret(0));
    program.extend(then);
    program
}

/// The same for IPv6, whose addresses are four words.
fn either_long_host(hosts: &[Ipv6Addr], then: Vec<sock_filter>) -> Vec<sock_filter> {
    let total = 2 * 9 * hosts.len() + 1;
    let mut program = Vec::new();
    for end in [8, 24] {
        for host in hosts {
            let bits = host.to_bits();
            for (word, shift) in [96, 64, 32, 0].into_iter().enumerate() {
                let word = word as u32;
                program.push(load(BPF_W, end + 4 * word));
                // Past the other words of this host, and past the skip.
                let missed = 2 * (3 - word as u8) + 1;
                program.push(equal((bits >> shift) as u32, 0, missed));
            }
            program.push(skip(total - program.len() - 1));
        }
    }
    program.push(ret(0));
    program.extend(then);
    program
}

fn instruction(code: u32, k: u32) -> sock_filter {
    sock_filter {
        code: code as u16,
        jt: 0,
        jf: 0,
        k,
    }
}

fn load(size: u32, offset: u32) -> sock_filter {
    instruction(BPF_LD | size | BPF_ABS, offset)
}

fn jump(test: u32, k: u32, met: u8, not_met: u8) -> sock_filter {
    sock_filter {
        jt: met,
        jf: not_met,
        ..instruction(BPF_JMP | test | BPF_K, k)
    }
}

fn equal(k: u32, met: u8, not_met: u8) -> sock_filter {
    jump(BPF_JEQ, k, met, not_met)
}

/// Leaves out so many instructions.
fn skip(instructions: usize) -> sock_filter {
    instruction(BPF_JMP | BPF_JA, instructions as u32)
}

fn ret(bytes: u32) -> sock_filter {
    instruction(BPF_RET | BPF_K, bytes)
}

#[cfg(test)]
mod tests;
