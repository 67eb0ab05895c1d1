//! Mail for homes without an address of their own, through an inbound proxy: every host a network namespace, the homes
//! behind routers that let nobody in, the senders real mail servers.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod both;
mod change;
mod ending;
mod first;
mod gate;
mod hostile;
mod lives;
mod place;
mod senders;

fn main() -> std::process::ExitCode {
    tests::apart::run(tests::tests![
        change::a_home_that_sleeps_wakes_and_moves,
        gate::what_the_gate_says,
        senders::two_homes_by_postfix,
        senders::two_homes_by_exim,
        senders::two_homes_by_sendmail,
        senders::two_homes_by_opensmtpd,
        senders::two_homes_by_chasquid,
        senders::homes_of_different_streets,
        change::a_proxy_that_is_killed,
        ending::a_letter_that_is_on_its_way_arrives_once,
        change::a_home_is_back_within_seconds,
        both::a_letter_and_its_answer,
        hostile::a_home_that_agrees_to_everything,
        hostile::the_only_home_of_a_street,
        hostile::a_box_that_pretends_to_be_another,
        hostile::nothing_to_read,
        first::from_a_code_to_a_letter,
        lives::the_family_and_the_operator_are_told_the_same,
        lives::one_house_with_two_names,
        lives::a_home_that_is_expected_and_has_mail,
    ])
}
