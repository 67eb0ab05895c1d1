//! The running box, looked at from outside: as root, and as an ordinary user.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod certificates;
mod changes;
mod house;
mod restarts;
mod silent;
mod start_and_end;
mod told;
mod walls;

use house::{House, User};

/// Each test runs as both.
macro_rules! as_both {
    ($($name:ident: $test:path;)*) => {
        mod as_root { $(#[test] fn $name() { $test(super::User::Root) })* }
        mod as_anybody { $(#[test] fn $name() { $test(super::User::Anybody) })* }
    };
}

as_both! {
    roles_are_what_the_table_says: super::walls::roles_are_what_the_table_says;
    roles_are_what_the_table_says_with_a_scanner: super::walls::roles_are_what_the_table_says_with_a_scanner;
    a_changed_certificate_is_taken_up: super::certificates::a_changed_certificate_is_taken_up;
    all_of_several_changes_at_once_are_made: super::changes::all_of_several_changes_at_once_are_made;
    every_role_comes_back: super::restarts::every_role_comes_back;
    the_others_outlive_a_keeper_that_dies_again_and_again:
        super::restarts::the_others_outlive_a_keeper_that_dies_again_and_again;
    a_role_without_its_edges_comes_back: super::restarts::a_role_without_its_edges_comes_back;
    a_listener_that_was_shut_down_listens_again: super::restarts::a_listener_that_was_shut_down_listens_again;
    starts_drains_and_starts_again: super::start_and_end::starts_drains_and_starts_again;
    the_doctor_knows_what_up_was_told: super::told::the_doctor_knows_what_up_was_told;
    what_is_printed_to_type_is_what_is_served: super::told::what_is_printed_to_type_is_what_is_served;
    a_second_one_is_told_at_once: super::start_and_end::a_second_one_is_told_at_once;
    commands_give_a_silent_keeper_up: super::silent::commands_give_a_silent_keeper_up;
    roles_die_with_up: super::start_and_end::roles_die_with_up;
}
