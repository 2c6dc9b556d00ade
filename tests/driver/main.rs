//! Requirements of every driver, tested with real sockets on loopback, and the rules of the ring.
//!
//! Must not know workers or frames. Invariant: one suite, the same for every driver.

mod load;
mod rig;
mod ring_rules;
mod streams;
mod suite;

use corecast::driver::Options;
use corecast::driver::epoll::Epoll;
use corecast::driver::uring::{Tuning, Uring};

impl rig::Make for Epoll {
    fn make(options: Options) -> Epoll {
        Epoll::new(options).expect("an epoll instance")
    }
}

impl rig::Make for Uring {
    fn make(options: Options) -> Uring {
        Uring::new(options, Tuning::default()).expect("a ring")
    }
}

/// The suite, once for each driver.
macro_rules! on_every_driver {
    ($($file:ident::$test:ident),* $(,)?) => {
        mod epoll {
            $(#[test] fn $test() { crate::$file::$test::<super::Epoll>() })*
        }
        mod uring {
            $(#[test] fn $test() { crate::$file::$test::<super::Uring>() })*
        }
    };
}

on_every_driver! {
    suite::accepts_with_the_peers_address,
    suite::nothing_is_received_before_adopt,
    suite::flushes_whole_sends,
    suite::a_flush_reaches_every_socket,
    suite::one_send_per_socket_and_flush,
    suite::the_unsent_rest_is_exact,
    suite::armed_sends_follow_each_other,
    suite::a_reset_peer_ends_and_fails,
    suite::a_peer_that_is_gone_wakes_nobody_who_paused,
    suite::close_sends_a_fin_and_frees_the_slot,
    suite::nothing_comes_after_close,
    suite::shutdown_ends_one_direction,
    suite::a_fin_follows_the_armed_send,
    suite::a_full_table_waits,
    suite::a_bell_wakes_from_another_thread,
    suite::a_ring_before_the_wait_is_heard,
    suite::wait_keeps_its_time,
    suite::stop_listening_keeps_connections,
    suite::a_driver_without_listeners_waits,
    load::receives_in_order_under_load,
    load::pause_loses_and_doubles_nothing,
    load::one_sender_does_not_starve_the_others,
    load::close_under_load_frees_the_slots,
    load::churn_keeps_every_stream,
}
