//! Mail of homes without a clean address, through an outbound proxy: every host a network namespace, the homes behind
//! routers that let nobody in, the far servers real mail servers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod addresses;
mod budget;
mod cheats;
mod ending;
mod house;
mod metered;
mod place;
mod silence;
mod silent;
mod source;

fn main() -> std::process::ExitCode {
    tests::apart::run(tests::tests![
        silence::who_is_silent_is_closed_and_who_waits_is_not,
        silence::hosts_that_say_nothing_hold_up_nobody,
        house::mail_leaves_through_a_paired_proxy,
        metered::recipients_are_counted_at_real_servers,
        budget::a_spam_run_stops_within_its_budget,
        budget::nor_is_a_run_cheaper_that_hears_no_reply,
        budget::a_body_first_is_of_no_use,
        budget::a_session_is_slowed_and_not_cut,
        cheats::nothing_but_tls_goes_through,
        cheats::every_session_is_paid_for,
        cheats::sessions_of_a_minute_and_sessions_for_nothing,
        cheats::who_is_revoked_sends_nothing_more,
        cheats::sessions_and_networks_have_bounds_of_their_own,
        house::past_the_proxy_only_when_told,
        house::a_spent_budget_is_waited_for,
        addresses::nobody_but_the_public_internet,
        ending::who_waits_for_the_word_on_a_letter_hears_it,
        source::letters_leave_from_an_address_of_the_proxys_name,
        silent::no_address_hides_the_one_that_answers,
    ])
}
