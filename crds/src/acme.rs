//! The kinds of `acme.cert-manager.io/v1`: one order at an ACME server, and its challenges.

mod challenge;
mod order;
mod solver;

pub use challenge::{Challenge, ChallengeSpec, ChallengeStatus, ChallengeType};
pub use order::{AcmeState, Order, OrderAuthorization, OrderChallenge, OrderSpec, OrderStatus};
pub use solver::{
    Dns01Solver, GatewayHttpRouteSolver, Http01Solver, IngressSolver, Solver, SolverSelector,
    WebhookSolver,
};
