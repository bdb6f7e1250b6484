use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Caller, rfc3339};
use crate::jwk::Jwk;
use crate::jws::{Jws, Signer};
use crate::model::{Account, AccountStatus, AuthorizationStatus};
use crate::problem::{Kind, Problem};
use crate::server::{Inner, State};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NewAccount {
    #[serde(default)]
    contact: Vec<String>,
    #[serde(default)]
    terms_of_service_agreed: bool,
    #[serde(default)]
    only_return_existing: bool,
    external_account_binding: Option<Value>,
}

#[derive(Deserialize)]
struct AccountUpdate {
    contact: Option<Vec<String>>,
    status: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct KeyChange {
    account: String,
    old_key: Jwk,
}

/// RFC 8555, section 7.3: only `mailto` with one address is promised to work.
fn check_contacts(contacts: &[String]) -> Result<(), Problem> {
    for contact in contacts {
        let Some(address) = contact.strip_prefix("mailto:") else {
            let detail = "a contact is not a mailto url";
            return Err(Problem::new(Kind::UnsupportedContact, detail));
        };
        let plain = !address.contains([',', '?', ' ']) && address.is_ascii();
        let whole = address.split_once('@').is_some_and(|(user, host)| {
            !user.is_empty() && host.contains('.') && !host.contains('@')
        });
        if !(plain && whole) {
            let detail = "a contact is not one plain mail address";
            return Err(Problem::new(Kind::InvalidContact, detail));
        }
    }
    Ok(())
}

impl Inner {
    fn account_url(&self, id: &str) -> String {
        self.url(&format!("/account/{id}"))
    }

    fn account_answer(&self, id: &str, account: &Account) -> Answer {
        Answer::json(&json!({
            "status": account.status,
            "contact": account.contact,
            "termsOfServiceAgreed": true,
            "orders": format!("{}/orders", self.account_url(id)),
            "createdAt": rfc3339(account.created),
        }))
        .location(self.account_url(id))
    }

    /// RFC 8555, sections 7.3 and 7.3.1.
    pub(super) fn new_account(
        &self,
        state: &mut State,
        key: Jwk,
        jws: &Jws,
    ) -> Result<Answer, Problem> {
        let wanted: NewAccount = jws.json()?;
        if let Some((id, account)) = state.records.account_of_key(&key) {
            if account.status == AccountStatus::Deactivated {
                return Err(
                    Problem::unauthorized("the account of this key is deactivated")
                        .with_status(StatusCode::UNAUTHORIZED),
                );
            }
            return Ok(self.account_answer(id, account));
        }
        if wanted.only_return_existing {
            return Err(Problem::new(
                Kind::AccountDoesNotExist,
                "there is no account of this key",
            ));
        }
        if wanted.external_account_binding.is_some() {
            let detail = "this server does not take external account bindings";
            return Err(Problem::malformed(detail));
        }
        if !wanted.terms_of_service_agreed {
            return Err(Problem::malformed("the terms of service must be agreed to"));
        }
        check_contacts(&wanted.contact)?;
        let id = self.fresh_id(|id| state.records.accounts.contains_key(id));
        let account = Account {
            key,
            status: AccountStatus::Valid,
            contact: wanted.contact,
            created: self.clock.now(),
        };
        let answer = self.account_answer(&id, &account);
        state.records.accounts.insert(id, account);
        state.touch();
        Ok(answer.status(StatusCode::CREATED).changed())
    }

    /// RFC 8555, sections 7.3.2 and 7.3.6.
    pub(super) fn account(
        &self,
        state: &mut State,
        id: &str,
        caller: &Caller,
        jws: &Jws,
    ) -> Result<Answer, Problem> {
        if id != caller.id {
            return Err(Problem::unauthorized(
                "the account is not the one that signed",
            ));
        }
        let Some(account) = state.records.accounts.get_mut(id) else {
            return Err(Problem::not_found("account"));
        };
        if jws.payload.is_empty() {
            return Ok(self.account_answer(id, account));
        }
        let update: AccountUpdate = jws.json()?;
        match update.status.as_deref() {
            None | Some("valid") => {}
            Some("deactivated") => account.status = AccountStatus::Deactivated,
            Some(_) => return Err(Problem::malformed("an account can only be deactivated")),
        }
        if let Some(contact) = update.contact {
            check_contacts(&contact)?;
            account.contact = contact;
        }
        let answer = self.account_answer(id, account).changed();
        if account.status == AccountStatus::Deactivated {
            for authorization in state.records.authorizations.values_mut() {
                if authorization.account == id
                    && authorization.status == AuthorizationStatus::Pending
                {
                    authorization.status = AuthorizationStatus::Deactivated;
                }
            }
        }
        state.touch();
        Ok(answer)
    }

    /// RFC 8555, section 7.1.2.1, on one page.
    pub(super) fn account_orders(
        &self,
        state: &State,
        id: &str,
        caller: &Caller,
        jws: &Jws,
    ) -> Result<Answer, Problem> {
        jws.expect_empty()?;
        if id != caller.id {
            return Err(Problem::unauthorized(
                "the account is not the one that signed",
            ));
        }
        let orders: Vec<String> = state
            .records
            .orders
            .iter()
            .filter(|(_, order)| order.account == id)
            .map(|(order, _)| self.url(&format!("/order/{order}")))
            .collect();
        Ok(Answer::json(&json!({ "orders": orders })))
    }

    /// RFC 8555, section 7.3.5.
    pub(super) fn change_key(
        &self,
        state: &mut State,
        caller: &Caller,
        jws: &Jws,
    ) -> Result<Answer, Problem> {
        let inner = Jws::parse(&jws.payload)?;
        let Signer::Key(new_key) = &inner.signer else {
            return Err(Problem::malformed("the inner jws must have a jwk"));
        };
        inner.verify(new_key)?;
        if inner.nonce.is_some() {
            return Err(Problem::malformed("the inner jws must not have a nonce"));
        }
        if inner.url != jws.url {
            return Err(Problem::malformed(
                "the inner and the outer jws have different urls",
            ));
        }
        let change: KeyChange = inner.json()?;
        if change.account != self.account_url(&caller.id) {
            return Err(Problem::malformed("the inner jws is about another account"));
        }
        if change.old_key != caller.key {
            return Err(Problem::malformed("the old key is not the account's key"));
        }
        if let Some((other, _)) = state.records.account_of_key(new_key) {
            let taken = Problem::malformed("the new key belongs to an account already")
                .with_status(StatusCode::CONFLICT);
            return Ok(Answer::problem(taken).location(self.account_url(other)));
        }
        let Some(account) = state.records.accounts.get_mut(&caller.id) else {
            return Err(Problem::not_found("account"));
        };
        account.key = new_key.clone();
        let answer = self.account_answer(&caller.id, account).changed();
        state.touch();
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contacts_are_single_mail_addresses() {
        let check = |contact: &str| check_contacts(&[contact.to_owned()]).map_err(|p| p.kind);
        assert_eq!(check("mailto:a@b.test"), Ok(()));
        assert_eq!(
            check("tel:1"),
            Err(Kind::UnsupportedContact.urn().to_owned())
        );
        for bad in [
            "mailto:",
            "mailto:a",
            "mailto:a@b.test,c@d.test",
            "mailto:a@b.test?x=y",
        ] {
            assert_eq!(
                check(bad),
                Err(Kind::InvalidContact.urn().to_owned()),
                "{bad}"
            );
        }
    }
}
