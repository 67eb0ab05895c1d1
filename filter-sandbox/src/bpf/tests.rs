//! The programs against a small interpreter, and the interpreter's answer against the lists read plainly.

use proptest::prelude::*;

use super::*;
use crate::calls::merged;
use crate::role::Role;

/// Runs a program as the kernel does; answers its action and how many instructions it took.
fn run(code: &[libc::sock_filter], number: u32, machine: u32, arguments: [u64; 6]) -> (u32, usize) {
    let load = |offset: u32| match offset {
        NUMBER_AT => number,
        MACHINE_AT => machine,
        at => {
            let word = arguments[(at - ARGUMENTS_AT) as usize / 8];
            if at % 8 == 0 { word as u32 } else { (word >> 32) as u32 }
        }
    };
    let (mut accumulator, mut at, mut steps) = (0u32, 0usize, 0);
    loop {
        let step = code[at];
        steps += 1;
        at += 1;
        match step.code {
            LOAD => accumulator = load(step.k),
            AND => accumulator &= step.k,
            EQUAL => at += usize::from(if accumulator == step.k { step.jt } else { step.jf }),
            AT_LEAST => at += usize::from(if accumulator >= step.k { step.jt } else { step.jf }),
            JUMP => at += step.k as usize,
            RETURN => return (step.k, steps),
            other => panic!("instruction {other:#x}"),
        }
    }
}

fn plainly(calls: &[Call], number: u32, arguments: [u64; 6]) -> u32 {
    let Some(call) = calls.iter().find(|call| call.number as u32 == number) else {
        return libc::SECCOMP_RET_KILL_PROCESS;
    };
    match call.rule {
        Rule::Allow => libc::SECCOMP_RET_ALLOW,
        Rule::Fail(errno) => failing(errno),
        Rule::Only { argument, mask, values, otherwise } => {
            if values.contains(&(arguments[usize::from(argument)] as u32 & mask)) {
                libc::SECCOMP_RET_ALLOW
            } else {
                otherwise.map_or(libc::SECCOMP_RET_KILL_PROCESS, failing)
            }
        }
        Rule::All { conditions, otherwise } => {
            let holds = |(argument, mask, values): &(u8, u32, &[u32])| {
                values.contains(&(arguments[usize::from(*argument)] as u32 & mask))
            };
            if conditions.iter().all(holds) { libc::SECCOMP_RET_ALLOW } else { failing(otherwise) }
        }
        Rule::OnlyOrClear { values, cleared, otherwise } => {
            let [first, second] = [arguments[0] as u32, arguments[1] as u32];
            let fine = values.contains(&first) || (first == cleared && second == 0);
            if fine { libc::SECCOMP_RET_ALLOW } else { failing(otherwise) }
        }
    }
}

fn interesting() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..64u64,
        any::<u64>(),
        any::<u32>().prop_map(u64::from),
        Just(u64::MAX),
        0x5400..0x5500u64,
        1024..1040u64
    ]
}

#[test]
fn every_number_of_every_role() {
    for role in Role::ALL {
        let calls = merged(role.walls().calls);
        let program = Program::new(&calls, libc::SECCOMP_RET_KILL_PROCESS);
        assert!(program.instructions().len() <= MOST_INSTRUCTIONS);
        for number in (0..2000).chain([u32::MAX, 0x3fff_ffff]) {
            for arguments in [[0; 6], [1; 6], [u64::MAX; 6], [libc::AF_INET as u64; 6]] {
                let (action, steps) = run(program.instructions(), number, MACHINE, arguments);
                let expected = match number {
                    #[cfg(target_arch = "x86_64")]
                    X32.. => libc::SECCOMP_RET_KILL_PROCESS,
                    _ => plainly(&calls, number, arguments),
                };
                assert_eq!(action, expected, "{role}: call {number} with {arguments:?}");
                assert!(steps <= 48, "{role}: call {number} takes {steps} instructions");
            }
        }
    }
}

/// It is translated anew for every worker.
#[test]
fn a_workers_program_is_short() {
    let program = Program::new(&merged(Role::Worker.walls().calls), libc::SECCOMP_RET_KILL_PROCESS);
    assert!(program.instructions().len() <= 25, "{}", program.instructions().len());
}

#[test]
fn another_machine_is_fatal() {
    for role in Role::ALL {
        let program = Program::new(&merged(role.walls().calls), libc::SECCOMP_RET_KILL_PROCESS);
        // 32-bit x86, and everything with a flag changed.
        for machine in [0x4000_0003, MACHINE ^ 0x8000_0000, 0] {
            let number = libc::SYS_read as u32;
            assert_eq!(run(program.instructions(), number, machine, [0; 6]).0, libc::SECCOMP_RET_KILL_PROCESS);
        }
    }
}

proptest! {
    #[test]
    fn arguments_are_judged_as_written(
        role in 0..Role::ALL.len(),
        pick in any::<prop::sample::Index>(),
        arguments in prop::array::uniform6(interesting()),
    ) {
        let calls = merged(Role::ALL[role].walls().calls);
        let number = calls[pick.index(calls.len())].number as u32;
        let program = Program::new(&calls, libc::SECCOMP_RET_KILL_PROCESS);
        let (action, _) = run(program.instructions(), number, MACHINE, arguments);
        prop_assert_eq!(action, plainly(&calls, number, arguments));
    }
}
