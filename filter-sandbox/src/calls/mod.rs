//! The system calls of each kind of work, as data with a reason a line. What no list of a role names is fatal
//! (`SECCOMP_RET_KILL_PROCESS`); what is asked for harmlessly by a library is refused with an errno.

pub(crate) mod numbers;
mod roles;
mod scanner;
mod worker;
mod zygote;

pub(crate) use roles::{ASKS_DNS, BASE, FILES, MEMORY_FILES, READS_FILES, RELAYS, RUNTIME, STREAMS, THREADS};
pub(crate) use scanner::{FOREIGN_CODE, SCANNER};
pub(crate) use worker::WORKER;
pub(crate) use zygote::{SETUP, ZYGOTE};

/// What becomes of a system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// It is let through.
    Allow,
    /// It fails with that errno and nothing happens.
    Fail(i32),
    /// It is let through when `argument & mask` is one of `values`; else it fails with that errno, or is fatal.
    /// Only the argument's low 32 bits are looked at: every value named here lives there.
    Only { argument: u8, mask: u32, values: &'static [u32], otherwise: Option<i32> },
    /// It is let through when each of these arguments, `& mask`, is one of its values; else it fails with that errno.
    All { conditions: &'static [(u8, u32, &'static [u32])], otherwise: i32 },
    /// It is let through when argument 0 is one of `values`, or is `cleared` and argument 1 is zero; else it fails.
    OnlyOrClear { values: &'static [u32], cleared: u32, otherwise: i32 },
}

/// One line of a list.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    /// The system call's number on this machine.
    pub number: libc::c_long,
    /// What becomes of it.
    pub rule: Rule,
    /// Why it is in the list.
    pub why: &'static str,
}

/// Lets calls through.
const fn allow(number: libc::c_long, why: &'static str) -> Call {
    Call { number, rule: Rule::Allow, why }
}

/// Refuses a call without killing.
const fn fail(number: libc::c_long, errno: i32, why: &'static str) -> Call {
    Call { number, rule: Rule::Fail(errno), why }
}

/// Lets a call through for some values of one argument.
const fn only(
    number: libc::c_long,
    argument: u8,
    mask: u32,
    values: &'static [u32],
    otherwise: Option<i32>,
    why: &'static str,
) -> Call {
    Call { number, rule: Rule::Only { argument, mask, values, otherwise }, why }
}

/// Lets a sending call through without the flag that makes it connect: an inherited listener, and what it accepted,
/// belongs to the host's network, and Landlock is not asked on that way (measured, Linux 6.18).
const fn sends(number: libc::c_long, flags: u8, why: &'static str) -> Call {
    only(number, flags, libc::MSG_FASTOPEN as u32, &[0], Some(libc::EPERM), why)
}

/// `sendto` and `send` take their flags here, `sendmsg` before.
const SENDTO_FLAGS: u8 = 3;
const SENDMSG_FLAGS: u8 = 2;

/// Every bit of an argument's low word.
const WHOLE: u32 = u32::MAX;

/// `mmap` and `mprotect` put the protection here.
const PROTECTION: u8 = 2;

/// Number of the call that maps memory: on 32-bit ARM its offset is in pages.
#[cfg(target_arch = "arm")]
pub(crate) const MMAP: libc::c_long = libc::SYS_mmap2;
#[cfg(not(target_arch = "arm"))]
pub(crate) const MMAP: libc::c_long = libc::SYS_mmap;

/// The lists of a role as one, by number: a later list's line replaces an earlier one's of the same number.
pub(crate) fn merged(lists: &[&[Call]]) -> Vec<Call> {
    let mut all = std::collections::BTreeMap::new();
    for call in lists.iter().copied().flatten() {
        all.insert(call.number, *call);
    }
    all.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::role::Role;

    #[test]
    fn every_line_has_a_reason() {
        for role in Role::ALL {
            for call in role.walls().calls.iter().copied().flatten() {
                assert!(!call.why.is_empty(), "{role}: call {} has no reason", call.number);
            }
        }
    }

    #[test]
    fn nobody_but_the_scanner_may_exec() {
        for role in Role::ALL {
            let execs = merged(role.walls().calls)
                .iter()
                .any(|call| [libc::SYS_execve, libc::SYS_execveat].contains(&call.number) && call.rule == Rule::Allow);
            assert_eq!(execs, matches!(role, Role::Scanner | Role::ScannerZygote), "{role}");
        }
    }

    #[test]
    fn nobody_connects_by_sending_or_by_an_option() {
        for role in Role::ALL {
            for call in merged(role.walls().calls) {
                let refused = match call.number {
                    libc::SYS_sendto => is_refused(call.rule, 3, libc::MSG_FASTOPEN as u32),
                    libc::SYS_sendmsg => is_refused(call.rule, 2, libc::MSG_FASTOPEN as u32),
                    #[cfg(target_arch = "arm")]
                    libc::SYS_send => is_refused(call.rule, 3, libc::MSG_FASTOPEN as u32),
                    libc::SYS_setsockopt => is_refused(call.rule, 2, libc::TCP_FASTOPEN_CONNECT as u32),
                    _ => true,
                };
                assert!(refused, "{role}: {} ({})", call.number, call.why);
            }
        }
    }

    fn is_refused(rule: Rule, place: u8, value: u32) -> bool {
        matches!(rule, Rule::Only { argument, mask, values, .. } if argument == place && !values.contains(&(value & mask)))
    }

    #[test]
    fn nobody_has_signals_sent_under_either_name_of_fcntl() {
        let names = [
            libc::SYS_fcntl,
            #[cfg(target_arch = "arm")]
            libc::SYS_fcntl64,
        ];
        // A zygote's children close and move descriptors before their own list is in force.
        for role in Role::ALL.iter().filter(|role| !role.walls().makes_children()) {
            for call in merged(role.walls().calls).iter().filter(|call| names.contains(&call.number)) {
                assert!(is_refused(call.rule, 1, libc::F_SETOWN as u32), "{role}: call {} is free", call.number);
            }
        }
    }

    #[test]
    fn only_who_asks_the_dns_or_sends_connects() {
        for role in Role::ALL {
            let connects = merged(role.walls().calls).iter().any(|call| call.number == libc::SYS_connect);
            let may = [Role::Mx, Role::Resolver, Role::Courier, Role::Link, Role::InboundProxy, Role::OutboundProxy];
            assert_eq!(connects, may.contains(&role), "{role}");
        }
    }

    /// Landlock's rules of ports are for TCP alone: what is nearly TCP (MPTCP, SCTP) would pass by them.
    #[test]
    fn nobody_makes_a_socket_that_is_neither_tcp_nor_udp() {
        for role in Role::ALL {
            let sockets = merged(role.walls().calls).into_iter().filter(|call| call.number == libc::SYS_socket);
            for call in sockets {
                let of = |place: u8, value: i32| match call.rule {
                    Rule::All { conditions, .. } => conditions
                        .iter()
                        .any(|(argument, mask, values)| *argument == place && !values.contains(&(value as u32 & mask))),
                    Rule::Fail(_) => true,
                    _ => false,
                };
                let refused = [
                    of(0, libc::AF_UNIX),
                    of(1, libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC),
                    of(2, libc::IPPROTO_MPTCP),
                    of(2, libc::IPPROTO_SCTP),
                    of(2, libc::IPPROTO_ICMP),
                ];
                assert_eq!(refused, [true; 5], "{role}");
            }
        }
    }

    #[test]
    fn nobody_but_a_proxy_splices() {
        for role in Role::ALL {
            let splices = merged(role.walls().calls).iter().any(|call| call.number == libc::SYS_splice);
            assert_eq!(splices, matches!(role, Role::InboundProxy | Role::OutboundProxy), "{role}");
        }
    }

    #[test]
    fn what_is_fatal_for_everybody() {
        let never = [
            libc::SYS_listen,
            libc::SYS_sendmmsg,
            libc::SYS_ptrace,
            libc::SYS_process_vm_readv,
            libc::SYS_io_uring_setup,
            libc::SYS_userfaultfd,
            libc::SYS_perf_event_open,
            libc::SYS_bpf,
            libc::SYS_mount,
            libc::SYS_unshare,
            libc::SYS_setns,
            libc::SYS_keyctl,
            libc::SYS_pidfd_getfd,
            libc::SYS_vmsplice,
        ];
        for role in Role::ALL {
            for call in merged(role.walls().calls) {
                assert!(!never.contains(&call.number), "{role} may make call {}", call.number);
            }
        }
    }
}
