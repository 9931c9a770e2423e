use super::*;

/// A packet as the filter sees it.
struct Seen {
    bytes: Vec<u8>,
    protocol: u32,
    kind: u32,
    hardware: u32,
}

/// What the kernel does with a program, for the instructions that are used here.
fn keeps(program: &[sock_filter], seen: &Seen) -> bool {
    let (mut a, mut x, mut memory, mut at) = (0u32, 0u32, 0u32, 0usize);
    let read = |offset: u32, size: usize| {
        let bytes = seen.bytes.get(offset as usize..)?.get(..size)?;
        Some(
            bytes
                .iter()
                .fold(0, |sum, byte| sum << 8 | u32::from(*byte)),
        )
    };
    loop {
        let sock_filter { code, jt, jf, k } = program[at];
        let code = u32::from(code);
        at += 1;
        match code & 7 {
            BPF_LDX if code & 0xe0 == BPF_MEM => x = memory,
            BPF_ST => memory = a,
            BPF_ALU => {
                a = match code & 0xf8 {
                    op if op == BPF_ADD | BPF_X => a.wrapping_add(x),
                    BPF_MUL => a.wrapping_mul(k),
                    BPF_RSH => a >> k,
                    BPF_MOD => a % k,
                    other => panic!("the operation {other} is not used"),
                }
            }
            BPF_LDX => match read(k, 1) {
                Some(byte) => x = 4 * (byte & 15),
                None => return false,
            },
            BPF_LD => {
                let size = match code & 0x18 {
                    BPF_B => 1,
                    BPF_H => 2,
                    _ => 4,
                };
                let special = k.wrapping_sub(SKF_AD_OFF as u32) as i32;
                let loaded = match special {
                    SKF_AD_PKTTYPE => Some(seen.kind),
                    SKF_AD_HATYPE => Some(seen.hardware),
                    SKF_AD_PROTOCOL => Some(seen.protocol),
                    _ if code & 0xe0 == BPF_IND => read(x + k, size),
                    _ => read(k, size),
                };
                match loaded {
                    Some(loaded) => a = loaded,
                    None => return false,
                }
            }
            BPF_JMP => {
                at += match code & 0xf0 {
                    BPF_JA => k as usize,
                    BPF_JEQ => usize::from(if a == k { jt } else { jf }),
                    _ => usize::from(if a & k != 0 { jt } else { jf }),
                }
            }
            _ => return k != 0,
        }
    }
}

fn tcp(from: (IpAddr, u16), to: (IpAddr, u16), options: usize) -> Seen {
    let (mut bytes, protocol) = match (from.0, to.0) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let mut head = vec![0; 20 + 4 * options];
            head[0] = 0x45 + options as u8;
            head[9] = 6;
            head[12..16].copy_from_slice(&source.octets());
            head[16..20].copy_from_slice(&destination.octets());
            (head, ETH_P_IP)
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let mut head = vec![0; 40];
            head[0] = 0x60;
            head[6] = 6;
            head[8..24].copy_from_slice(&source.octets());
            head[24..40].copy_from_slice(&destination.octets());
            (head, ETH_P_IPV6)
        }
        _ => unreachable!("both ends are of one family"),
    };
    bytes.extend(from.1.to_be_bytes());
    bytes.extend(to.1.to_be_bytes());
    bytes.extend([0; 16]);
    Seen {
        bytes,
        protocol: protocol as u32,
        kind: 0,
        hardware: 1,
    }
}

const HOSTS: [&str; 6] = [
    "10.0.0.1",
    "10.0.0.2",
    "192.168.7.9",
    "fd00::1",
    "fd00::2",
    "fd00:1::1",
];

/// The program for some ports and hosts.
fn filter(ports: &[u16], hosts: &[IpAddr], sample: u16) -> Option<Vec<sock_filter>> {
    program(&Live {
        ports: ports.to_vec(),
        hosts: hosts.to_vec(),
        sample,
        ..Live::default()
    })
}

fn hosts(names: &[&str]) -> Vec<IpAddr> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

/// Every pair of hosts and ports against every choice of them: the program does what one says.
#[test]
fn a_packet_is_kept_by_its_ports_and_hosts() {
    let all = hosts(&HOSTS);
    let ports = [9876, 10911, 40000];
    let choices: [&[IpAddr]; 5] = [&[], &all[..1], &all[..3], &all[3..5], &all[2..6]];
    for chosen_hosts in choices {
        for chosen_ports in [&[][..], &ports[..1], &ports[..2]] {
            let program = filter(chosen_ports, chosen_hosts, 1).unwrap();
            for (source, destination) in all
                .iter()
                .flat_map(|a| all.iter().map(move |b| (*a, *b)))
                .filter(|(a, b)| a.is_ipv4() == b.is_ipv4())
            {
                for (from, to) in ports.iter().flat_map(|a| ports.map(|b| (*a, b))) {
                    let host = chosen_hosts.is_empty()
                        || chosen_hosts.contains(&source)
                        || chosen_hosts.contains(&destination);
                    let port = chosen_ports.is_empty()
                        || chosen_ports.contains(&from)
                        || chosen_ports.contains(&to);
                    let seen = tcp((source, from), (destination, to), usize::from(from % 3));
                    let shown = format!(
                        "{source}:{from} to {destination}:{to}, {chosen_hosts:?} {chosen_ports:?}"
                    );
                    assert_eq!(keeps(&program, &seen), host && port, "{shown}");
                }
            }
        }
    }
}

#[test]
fn other_packets_are_not_kept() {
    let program = filter(&[9876], &[], 1).unwrap();
    let ends = hosts(&HOSTS);
    let good = || tcp((ends[0], 9876), (ends[1], 5), 0);
    assert!(keeps(&program, &good()));
    let udp = |mut seen: Seen, at: usize| {
        seen.bytes[at] = 17;
        seen
    };
    assert!(!keeps(&program, &udp(good(), 9)));
    assert!(!keeps(
        &program,
        &udp(tcp((ends[3], 9876), (ends[4], 5), 0), 6)
    ));
    let mut fragment = good();
    fragment.bytes[7] = 185;
    assert!(!keeps(&program, &fragment));
    let arp = Seen {
        protocol: 0x0806,
        ..good()
    };
    assert!(!keeps(&program, &arp));
    let mut cut = good();
    cut.bytes.truncate(21);
    assert!(!keeps(&program, &cut));
}

#[test]
fn a_packet_of_a_loopback_interface_is_kept_once() {
    let program = filter(&[], &[], 1).unwrap();
    let ends = hosts(&HOSTS);
    let seen = |kind: u8, hardware: u16| Seen {
        kind: u32::from(kind),
        hardware: u32::from(hardware),
        ..tcp((ends[0], 1), (ends[1], 2), 0)
    };
    assert!(!keeps(&program, &seen(PACKET_OUTGOING, ARPHRD_LOOPBACK)));
    assert!(keeps(&program, &seen(0, ARPHRD_LOOPBACK)));
    assert!(keeps(&program, &seen(PACKET_OUTGOING, 1)));
}

#[test]
fn more_than_the_kernel_takes_is_refused() {
    let ports: Vec<u16> = (1..=2000).collect();
    assert!(filter(&ports[..500], &[], 1).is_some());
    assert!(filter(&ports, &[], 1).is_none());
}

#[test]
fn of_so_many_connections_one_is_kept_in_both_directions() {
    let ends = hosts(&HOSTS);
    for sample in [2, 16, 100] {
        let program = filter(&[10_911], &[], sample).unwrap();
        for (client, server) in [(ends[0], ends[1]), (ends[3], ends[4])] {
            // As the kernel gives them to those who connect.
            let clients = (32_768..60_000).step_by(2);
            let kept = clients.clone().filter(|port| {
                let there = tcp((client, *port), (server, 10_911), 1);
                let back = tcp((server, 10_911), (client, *port), 0);
                assert_eq!(keeps(&program, &there), keeps(&program, &back), "{port}");
                keeps(&program, &there)
            });
            let (kept, expected) = (kept.count(), clients.len() / usize::from(sample));
            assert!(
                kept.abs_diff(expected) <= expected / 5,
                "{kept} of {expected}"
            );
        }
    }
    // A port that is not wanted is in no sample.
    let program = filter(&[9876], &[], 2).unwrap();
    let other = |port| tcp((ends[0], port), (ends[1], 10_911), 0);
    assert!((1..1000).all(|port| !keeps(&program, &other(port))));
}
