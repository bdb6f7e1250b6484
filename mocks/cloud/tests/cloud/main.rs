//! The mock cloud as its callers see it: signed requests in, answers and real traffic out.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod backend;
mod caller;
mod calls;
mod faults;
mod gateway;
mod objects;
mod persistence;
mod traffic;
