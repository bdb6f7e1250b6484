use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;

use super::{Caller, whole_seconds};
use crate::authority::Leaf;
use crate::model::{Finalized, Issued, Order, OrderStatus, Records};
use crate::problem::{Kind, Problem};
use crate::server::{Inner, State};

/// As much as Let's Encrypt, so that a client's clock may be behind the server's.
const BACK_DATED: Duration = Duration::from_hours(1);
/// The lifetime of the `shortlived` profile, as Let's Encrypt's.
const SHORT_LIFETIME: Duration = Duration::from_hours(160);

impl Inner {
    /// Brings an order of the caller's up to now, and issues its certificate when it is time.
    /// True when that changed the records in a way that must be durable.
    pub(super) fn advance(
        &self,
        state: &mut State,
        id: &str,
        caller: &Caller,
    ) -> Result<bool, Problem> {
        let now = self.clock.now();
        match state.records.orders.get(id) {
            Some(order) if order.account == caller.id => {}
            _ => return Err(Problem::not_found("order")),
        }
        state.records.settle(id, now);
        let Some(order) = state.records.orders.get(id) else {
            return Ok(false);
        };
        let due = match (&order.finalized, order.status) {
            (Some(finalized), OrderStatus::Processing) if finalized.issue_at <= now => finalized,
            _ => return Ok(false),
        };
        let issued = self.issue(&state.records, order, due, now);
        let Some(order) = state.records.orders.get_mut(id) else {
            return Ok(false);
        };
        match issued {
            Ok((serial, certificate)) => {
                order.status = OrderStatus::Valid;
                order.certificate = Some(serial.clone());
                state.records.certificates.insert(serial, certificate);
            }
            Err(problem) => {
                order.status = OrderStatus::Invalid;
                order.error = Some(problem);
            }
        }
        state.touch();
        Ok(true)
    }

    fn issue(
        &self,
        records: &Records,
        order: &Order,
        finalized: &Finalized,
        now: Timestamp,
    ) -> Result<(String, Issued), Problem> {
        let failed = |detail: String| Problem::new(Kind::ServerInternal, detail);
        if self.faults.take_failing_issuance() {
            return Err(failed("the issuance was told to fail".to_owned()));
        }
        let public_key = BASE64_STANDARD
            .decode(&finalized.public_key)
            .map_err(|_| failed("the stored key of the order cannot be read".to_owned()))?;
        let lifetime = match order.profile.as_deref() {
            Some("shortlived") => SHORT_LIFETIME,
            _ => self.certificate_lifetime,
        };
        let date = |at: Result<Timestamp, jiff::Error>| {
            at.map(whole_seconds)
                .map_err(|_| failed("the dates are out of range".to_owned()))
        };
        let not_before = date(now.checked_sub(BACK_DATED))?;
        let not_after = date(not_before.checked_add(lifetime))?;
        let (serial, bytes) = loop {
            let (serial, bytes) = self.serial_number();
            if !records.certificates.contains_key(&serial) {
                break (serial, bytes);
            }
        };
        let leaf = Leaf {
            names: &order.names,
            public_key: &public_key,
            serial: &bytes,
            not_before,
            not_after,
        };
        let chain_pem = self.authority.issue(&leaf).map_err(|error| {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "issuing a certificate"
            );
            failed(error.to_string())
        })?;
        let issued = Issued {
            account: order.account.clone(),
            names: order.names.iter().cloned().collect(),
            not_before,
            not_after,
            at: now,
            chain_pem,
            revoked: None,
            replaced_by: None,
        };
        Ok((serial, issued))
    }

    /// 128 random bits, as hex and as bytes. The first byte is not 0, so that DER keeps all 16.
    fn serial_number(&self) -> (String, Vec<u8>) {
        loop {
            let hex = self.random.hex(16);
            let bytes: Vec<u8> = hex
                .as_bytes()
                .chunks(2)
                .filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
                .collect();
            if bytes.first().is_some_and(|&first| first != 0) {
                return (hex, bytes);
            }
        }
    }
}
