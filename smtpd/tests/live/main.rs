//! The two roles as `up` starts them: confined, with a real keeper, a real zygote and its workers, over real
//! sockets; only DNS is the tests' own. This program is its own roles: `launch` runs it again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod authenticity;
mod client;
mod dialogues;
mod ending;
mod house;
mod limits;
mod mail;
#[path = "../transcript/mod.rs"]
mod transcript;
mod zone;

use std::process::ExitCode;

use filter_sandbox::Role;

#[global_allocator]
static ARENA: filter_sandbox::arena::Arena = filter_sandbox::arena::Arena;

type Test = (&'static str, fn());

const TESTS: &[Test] = &[
    ("mail::a_letter_over_starttls", mail::a_letter_over_starttls),
    ("mail::many_recipients_one_transaction", mail::many_recipients_one_transaction),
    ("mail::large_and_chunked", mail::large_and_chunked),
    ("mail::too_large", mail::too_large),
    ("mail::submission", mail::submission),
    ("mail::submission_with_scram_plus", mail::submission_with_scram_plus),
    ("mail::success_is_reported", mail::success_is_reported),
    ("mail::success_is_told_to_the_login_alone", mail::success_is_told_to_the_login_alone),
    ("authenticity::everything_passes", authenticity::everything_passes),
    ("authenticity::policies", authenticity::policies),
    ("authenticity::dns_in_trouble", authenticity::dns_in_trouble),
    ("authenticity::many_signatures", authenticity::many_signatures),
    ("authenticity::slow_keys_switch_no_policy_off", authenticity::slow_keys_switch_no_policy_off),
    ("authenticity::several_authors", authenticity::several_authors),
    ("authenticity::answers_are_kept", authenticity::answers_are_kept),
    ("dialogues::every_transcript", dialogues::every_transcript),
    ("limits::connections_of_one_address", limits::connections_of_one_address),
    ("limits::guessing_passwords", limits::guessing_passwords),
    ("limits::starttls_injection", limits::starttls_injection),
    ("limits::announced_sizes_block_nobody", limits::announced_sizes_block_nobody),
    ("ending::the_keeper_dies", ending::the_keeper_dies),
    ("ending::the_zygote_dies", ending::the_zygote_dies),
    ("ending::a_client_dies", ending::a_client_dies),
    ("ending::drain", ending::drain),
];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["postern", "role", name, ..] => role(name.parse().unwrap()),
        [_, ref rest @ ..] => run(rest),
        [] => ExitCode::FAILURE,
    }
}

fn role(role: Role) -> ExitCode {
    match role {
        Role::Keeper => spool::keeper::run(),
        Role::Mx => smtpd::mx::run(),
        Role::Submission => smtpd::submission::run(),
        zygote => filter_sandbox::zygote::run(zygote),
    }
}

/// One after another, on this thread: a role ends with the thread that started it.
fn run(words: &[&str]) -> ExitCode {
    let wanted: Vec<&&str> = words.iter().filter(|word| !word.starts_with('-')).collect();
    if words.contains(&"--list") {
        TESTS.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let chosen: Vec<&Test> =
        TESTS.iter().filter(|(name, _)| wanted.is_empty() || wanted.iter().any(|word| name.contains(**word))).collect();
    println!("\nrunning {} tests", chosen.len());
    let failed = chosen.iter().filter(|(name, test)| !passes(name, *test)).count();
    println!(
        "\ntest result: {}. {} passed; {failed} failed",
        if failed == 0 { "ok" } else { "FAILED" },
        chosen.len() - failed
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn passes(name: &str, test: fn()) -> bool {
    let began = std::time::Instant::now();
    let passed = std::panic::catch_unwind(test).is_ok();
    println!("test {name} ... {} ({:.1} s)", if passed { "ok" } else { "FAILED" }, began.elapsed().as_secs_f32());
    passed
}
