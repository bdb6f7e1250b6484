//! What a cloud has to offer.

use std::net::IpAddr;

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::id::{LoadBalancerId, OwnerKey};
use crate::observed::Observed;
use crate::step::Step;
use crate::token::IdempotencyToken;

/// The load balancers of one kind in one account, region and cluster.
pub trait LoadBalancers: Send + Sync {
    /// Reads everything about the load balancer of `owner`, found by its ownership tags.
    ///
    /// All or nothing: when one read fails, the whole fails, so that no caller takes a gap for an
    /// absence.
    ///
    /// # Errors
    /// Of any class but [`crate::ErrorClass::UnknownOutcome`]: reads have no effect.
    fn observe<'a>(&'a self, owner: &'a OwnerKey) -> BoxFuture<'a, Result<Observed, Error>>;

    /// Looks at the load balancer `id`, which was `owner`'s. Lists can be behind: what one does not
    /// show has to be asked for by its id before it is taken for gone.
    ///
    /// # Errors
    /// As [`LoadBalancers::observe`].
    fn look<'a>(
        &'a self,
        owner: &'a OwnerKey,
        id: &'a LoadBalancerId,
    ) -> BoxFuture<'a, Result<Found, Error>>;

    /// Makes one step happen and writes into `observed` what the cloud's answer says about the new
    /// state, so that no read is needed afterwards.
    ///
    /// A step may be repeated, with the same `token`: it then finds its effect and succeeds.
    /// Creating a load balancer on an `observed` that did not come straight from
    /// [`LoadBalancers::observe`] looks for an earlier one first; deleting one checks its marks.
    ///
    /// # Errors
    /// `observed` then holds what is known to have taken effect. After an error of class
    /// [`crate::ErrorClass::UnknownOutcome`] it must be thrown away and read anew.
    fn apply<'a>(
        &'a self,
        step: &'a Step,
        observed: &'a mut Observed,
        token: &'a IdempotencyToken,
    ) -> BoxFuture<'a, Result<(), Error>>;

    /// Every load balancer that this cluster's daemon made, for the audit that looks for orphans,
    /// sorted by id.
    ///
    /// # Errors
    /// As [`LoadBalancers::observe`].
    fn list_owned(&self) -> BoxFuture<'_, Result<Vec<OwnedLoadBalancer>, Error>>;
}

/// What became of a load balancer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    Gone,
    /// It carries the marks of its owner and of this cluster.
    Ours,
    /// Somebody took the marks off: it is not to be touched any more.
    NotOurs,
}

/// A load balancer that carries this cluster's mark.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OwnedLoadBalancer {
    pub id: LoadBalancerId,
    pub name: String,
    pub owner: OwnerKey,
    pub address: Option<IpAddr>,
}
