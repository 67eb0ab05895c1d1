//! Turns lists of calls into a seccomp program: checks the machine first, then searches the call's number as a
//! binary tree, so that no call costs more than a handful of comparisons. A short list is compared one by one: the kernel
//! translates a program anew for every worker, and that takes longer the longer it is.

use crate::calls::{Call, Rule};

/// The kernel's limit of instructions (`BPF_MAXINSNS`).
const MOST_INSTRUCTIONS: usize = 4096;
/// Calls of a list that is compared one by one: so few that every jump reaches.
const SHORT: usize = 16;

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const AND: u16 = (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16;
const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const AT_LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
const JUMP: u16 = (libc::BPF_JMP | libc::BPF_JA) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

/// `struct seccomp_data`: number, machine, instruction pointer, six arguments of 8 bytes.
const NUMBER_AT: u32 = 0;
const MACHINE_AT: u32 = 4;
const ARGUMENTS_AT: u32 = 16;

#[cfg(target_arch = "x86_64")]
const MACHINE: u32 = 0xC000_003E; // AUDIT_ARCH_X86_64
#[cfg(target_arch = "aarch64")]
const MACHINE: u32 = 0xC000_00B7; // AUDIT_ARCH_AARCH64
#[cfg(target_arch = "arm")]
const MACHINE: u32 = 0x4000_0028; // AUDIT_ARCH_ARM

/// First number of the x32 table, which shares the 64-bit machine's name.
#[cfg(target_arch = "x86_64")]
const X32: u32 = 0x4000_0000;

/// A finished program.
#[derive(Debug)]
pub(crate) struct Program(Vec<libc::sock_filter>);

impl Program {
    /// The program of these calls; every other number gets `otherwise` (a `SECCOMP_RET_*`).
    pub(crate) fn new(calls: &[Call], otherwise: u32) -> Self {
        let mut code = vec![
            plain(LOAD, MACHINE_AT),
            jump(EQUAL, MACHINE, 1, 0),
            plain(RETURN, libc::SECCOMP_RET_KILL_PROCESS),
            plain(LOAD, NUMBER_AT),
        ];
        #[cfg(target_arch = "x86_64")]
        code.extend([jump(AT_LEAST, X32, 0, 1), plain(RETURN, libc::SECCOMP_RET_KILL_PROCESS)]);
        code.extend(if calls.len() <= SHORT { chain(calls, otherwise) } else { tree(&intervals(calls), otherwise) });
        debug_assert!(code.len() <= MOST_INSTRUCTIONS, "a list is far too long");
        Self(code)
    }

    /// The instructions, for the kernel.
    pub(crate) fn instructions(&self) -> &[libc::sock_filter] {
        &self.0
    }
}

/// From `start` up to the next interval's start, every number has the same rule; `None` is "not in the list".
struct Interval {
    start: u32,
    rule: Option<Rule>,
}

/// The whole number line cut where the rule changes. `calls` are sorted by number.
fn intervals(calls: &[Call]) -> Vec<Interval> {
    let mut line = vec![Interval { start: 0, rule: None }];
    for call in calls {
        let number = call.number as u32;
        push(&mut line, number, Some(call.rule));
        push(&mut line, number + 1, None);
    }
    line
}

fn push(line: &mut Vec<Interval>, start: u32, rule: Option<Rule>) {
    if line.last().is_some_and(|last| last.start == start) {
        line.pop();
    }
    if line.last().is_none_or(|last| last.rule != rule) {
        line.push(Interval { start, rule });
    }
}

/// A comparison for each call, then what becomes of those that equal none, of those let through, and each other rule once.
fn chain(calls: &[Call], otherwise: u32) -> Vec<libc::sock_filter> {
    let mut outcomes = vec![plain(RETURN, otherwise), plain(RETURN, libc::SECCOMP_RET_ALLOW)];
    let mut known = vec![(Rule::Allow, 1)];
    let mut code = Vec::new();
    for (index, call) in calls.iter().enumerate() {
        let seen = known.iter().find(|(rule, _)| *rule == call.rule);
        let at = seen.map_or(outcomes.len(), |(_, at)| *at);
        if seen.is_none() {
            known.push((call.rule, at));
            outcomes.extend(leaf(Some(call.rule), otherwise));
        }
        // Over the remaining comparisons.
        code.push(jump(EQUAL, call.number as u32, (calls.len() - index - 1 + at) as u8, 0));
    }
    debug_assert!(calls.len() + outcomes.len() <= usize::from(u8::MAX), "a jump would not reach");
    code.extend(outcomes);
    code
}

fn tree(line: &[Interval], otherwise: u32) -> Vec<libc::sock_filter> {
    if let [one] = line {
        return leaf(one.rule, otherwise);
    }
    let (low, high) = line.split_at(line.len() / 2);
    let low = tree(low, otherwise);
    let mut code = match u8::try_from(low.len()) {
        Ok(over) => vec![jump(AT_LEAST, high[0].start, over, 0)],
        // A conditional jump reaches 255 instructions; an unconditional one any distance.
        Err(_) => vec![jump(AT_LEAST, high[0].start, 0, 1), plain(JUMP, low.len() as u32)],
    };
    code.extend(low);
    code.extend(tree(high, otherwise));
    code
}

fn leaf(rule: Option<Rule>, otherwise: u32) -> Vec<libc::sock_filter> {
    match rule {
        None => vec![plain(RETURN, otherwise)],
        Some(Rule::Allow) => vec![plain(RETURN, libc::SECCOMP_RET_ALLOW)],
        Some(Rule::Fail(errno)) => vec![plain(RETURN, failing(errno))],
        Some(Rule::Only { argument, mask, values, otherwise: errno }) => {
            let refused = errno.map_or(libc::SECCOMP_RET_KILL_PROCESS, failing);
            let mut code = condition(argument, mask, values, refused);
            code.push(plain(RETURN, libc::SECCOMP_RET_ALLOW));
            code
        }
        Some(Rule::All { conditions, otherwise }) => {
            let one =
                |(argument, mask, values): &(u8, u32, &[u32])| condition(*argument, *mask, values, failing(otherwise));
            let mut code: Vec<_> = conditions.iter().flat_map(one).collect();
            code.push(plain(RETURN, libc::SECCOMP_RET_ALLOW));
            code
        }
        Some(Rule::OnlyOrClear { values, cleared, otherwise }) => {
            let some = Rule::Only { argument: 0, mask: u32::MAX, values, otherwise: Some(otherwise) };
            // Anything but zero: past what lets the clearing through.
            let mut code = vec![plain(LOAD, low_word(1)), jump(EQUAL, 0, 0, 3), plain(LOAD, low_word(0))];
            code.extend([jump(EQUAL, cleared, 0, 1), plain(RETURN, libc::SECCOMP_RET_ALLOW)]);
            code.extend(leaf(Some(some), libc::SECCOMP_RET_KILL_PROCESS));
            code
        }
    }
}

/// Goes on past its end when `argument & mask` is one of the values.
fn condition(argument: u8, mask: u32, values: &[u32], refused: u32) -> Vec<libc::sock_filter> {
    let mut code = vec![plain(LOAD, low_word(argument))];
    if mask != u32::MAX {
        code.push(plain(AND, mask));
    }
    for (index, value) in values.iter().enumerate() {
        // Over the remaining comparisons and the refusal.
        code.push(jump(EQUAL, *value, (values.len() - index) as u8, 0));
    }
    code.push(plain(RETURN, refused));
    code
}

const fn failing(errno: i32) -> u32 {
    libc::SECCOMP_RET_ERRNO | (errno as u32 & libc::SECCOMP_RET_DATA)
}

const fn low_word(argument: u8) -> u32 {
    ARGUMENTS_AT + 8 * argument as u32 + if cfg!(target_endian = "big") { 4 } else { 0 }
}

const fn plain(code: u16, k: u32) -> libc::sock_filter {
    libc::sock_filter { code, jt: 0, jf: 0, k }
}

const fn jump(code: u16, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
    libc::sock_filter { code, jt, jf, k }
}

#[cfg(test)]
mod tests;
