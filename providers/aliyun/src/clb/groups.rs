//! Writing members of groups, at most 20 a call.

use gatewright_core::{
    Action, Backend, BackendKey, Error, ErrorClass, ObservedGroup, ObservedLoadBalancer, Weight,
};
use serde::Serialize;

use super::answers::{Accepted, Members};
use super::{Clb, is_gone, write};
use crate::client::call::Call;

/// Servers that one call may name (`TooManyBackendServers`).
const SERVERS_A_CALL: usize = 20;

/// A member in a request.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Member<'a> {
    server_id: &'a str,
    port: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    weight: Option<String>,
    #[serde(rename = "Type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_ip: Option<String>,
}

fn member(key: &BackendKey, weight: Option<Weight>) -> Member<'_> {
    let server_id = key.server.as_str();
    Member {
        server_id,
        port: key.port.to_string(),
        weight: weight.map(|weight| weight.to_string()),
        kind: if server_id.starts_with("eci-") {
            "eci"
        } else if server_id.starts_with("eni-") || key.ip.is_some() {
            "eni"
        } else {
            "ecs"
        },
        server_ip: key.ip.map(|ip| ip.to_string()),
    }
}

impl Clb {
    async fn write_members(
        &self,
        call: Call,
        members: &[(&BackendKey, Option<Weight>)],
    ) -> Result<Members, Error> {
        let list: Vec<Member<'_>> = members
            .iter()
            .map(|(key, weight)| member(key, *weight))
            .collect();
        let json = serde_json::to_string(&list).map_err(|_| {
            call.error(ErrorClass::Invalid, "the members cannot be written as JSON")
        })?;
        self.write(&call.with("BackendServers", json)).await
    }

    pub(super) async fn create_group(
        &self,
        lb: &mut ObservedLoadBalancer,
        name: &str,
        backends: &[Backend],
    ) -> Result<(), Error> {
        // The call knows no token. An earlier try is found by its name.
        if let Some(existing) = lb.group(name) {
            let id = existing.id.clone();
            let missing: Vec<Backend> = backends
                .iter()
                .filter(|backend| existing.backend(&backend.key).is_none())
                .cloned()
                .collect();
            return match lb.group_by_id_mut(&id) {
                Some(group) => self.add_backends(group, &missing).await,
                None => Ok(()),
            };
        }
        let call = write(
            "CreateVServerGroup",
            format!("creating backend group {name}"),
        )
        .with("LoadBalancerId", &lb.id)
        .with("VServerGroupName", name);
        let (first, rest) = backends.split_at(backends.len().min(SERVERS_A_CALL));
        let doing = call.doing.clone();
        let answer: Members = if first.is_empty() {
            self.write(&call).await?
        } else {
            let members: Vec<_> = first.iter().map(|b| (&b.key, Some(b.weight))).collect();
            self.write_members(call, &members).await?
        };
        let id = answer.group.as_deref().ok_or_else(|| {
            Error::new(
                ErrorClass::UnknownOutcome,
                doing.clone(),
                "the answer names no group",
            )
        })?;
        let mut group = ObservedGroup {
            id: id.into(),
            name: name.to_owned(),
            backends: Vec::new(),
        };
        let confirmed = confirm(&answer, first, &doing);
        if confirmed.is_ok() {
            group.record_added(first, self.now());
        }
        let added = match confirmed {
            Ok(()) => self.add_backends(&mut group, rest).await,
            Err(error) => Err(error),
        };
        lb.put_group(group);
        added
    }

    pub(super) async fn add_backends(
        &self,
        group: &mut ObservedGroup,
        backends: &[Backend],
    ) -> Result<(), Error> {
        for chunk in backends.chunks(SERVERS_A_CALL) {
            let doing = format!("adding backends to group {}", group.name);
            let call =
                write("AddVServerGroupBackendServers", &*doing).with("VServerGroupId", &group.id);
            let members: Vec<_> = chunk.iter().map(|b| (&b.key, Some(b.weight))).collect();
            let answer = self.write_members(call, &members).await?;
            confirm(&answer, chunk, &doing)?;
            group.record_added(chunk, self.now());
        }
        Ok(())
    }

    pub(super) async fn set_weights(
        &self,
        group: &mut ObservedGroup,
        backends: &[Backend],
    ) -> Result<(), Error> {
        for chunk in backends.chunks(SERVERS_A_CALL) {
            let call = write(
                "SetVServerGroupAttribute",
                format!("setting weights in group {}", group.name),
            )
            .with("VServerGroupId", &group.id);
            let members: Vec<_> = chunk.iter().map(|b| (&b.key, Some(b.weight))).collect();
            self.write_members(call, &members).await?;
            group.record_weights(chunk);
        }
        Ok(())
    }

    pub(super) async fn drain(
        &self,
        group: &mut ObservedGroup,
        keys: &[BackendKey],
    ) -> Result<(), Error> {
        let (open, closed): (Vec<BackendKey>, Vec<BackendKey>) =
            keys.iter().cloned().partition(|key| {
                group
                    .backend(key)
                    .is_some_and(|backend| !backend.weight.is_zero())
            });
        // These have weight 0 already; only since when is recorded.
        group.record_drained(&closed, self.now());
        for chunk in open.chunks(SERVERS_A_CALL) {
            let call = write(
                "SetVServerGroupAttribute",
                format!("draining backends of group {}", group.name),
            )
            .with("VServerGroupId", &group.id);
            let members: Vec<_> = chunk.iter().map(|key| (key, Some(Weight::ZERO))).collect();
            self.write_members(call, &members).await?;
            group.record_drained(chunk, self.now());
        }
        Ok(())
    }

    pub(super) async fn remove_backends(
        &self,
        group: &mut ObservedGroup,
        keys: &[BackendKey],
    ) -> Result<(), Error> {
        for chunk in keys.chunks(SERVERS_A_CALL) {
            let call = write(
                "RemoveVServerGroupBackendServers",
                format!("removing backends from group {}", group.name),
            )
            .with("VServerGroupId", &group.id);
            let members: Vec<_> = chunk.iter().map(|key| (key, None)).collect();
            self.write_members(call, &members).await?;
            group.record_removed(chunk);
        }
        Ok(())
    }

    pub(super) async fn delete_group(
        &self,
        lb: &mut ObservedLoadBalancer,
        group: &str,
        id: &gatewright_core::BackendGroupId,
    ) -> Result<(), Error> {
        let call = write(
            "DeleteVServerGroup",
            format!("deleting backend group {group}"),
        )
        .with("VServerGroupId", id);
        match self.write::<Accepted>(&call).await {
            Ok(_) => {}
            Err(error) if is_gone(&error) => {}
            // Some versions say "invalid parameter" when there is no such group.
            Err(error) if error.class() == ErrorClass::Invalid => {
                let known = self.group_names(lb.id.as_str()).await?;
                if known.iter().any(|(known, _)| known == id.as_str()) {
                    return Err(error);
                }
            }
            Err(error) => return Err(error),
        }
        lb.groups.retain(|group| group.id != *id);
        Ok(())
    }

    /// The group that an action names.
    pub(super) fn group_of<'a>(
        lb: &'a mut ObservedLoadBalancer,
        name: &str,
        action: &Action,
    ) -> Result<&'a mut ObservedGroup, Error> {
        let id = lb.group(name).map(|group| group.id.clone());
        id.and_then(|id| lb.group_by_id_mut(&id)).ok_or_else(|| {
            Error::new(
                ErrorClass::Conflict,
                action.to_string(),
                "there is no such group",
            )
        })
    }
}

/// A write answers with the members it wrote. One that is missing was not taken.
fn confirm(answer: &Members, wanted: &[Backend], doing: &str) -> Result<(), Error> {
    let Some(servers) = &answer.servers else {
        return Ok(());
    };
    let missing = wanted.iter().find(|backend| {
        !servers.backend_server.iter().any(|server| {
            server.id == backend.key.server.as_str()
                && server.port == Some(backend.key.port.get().into())
        })
    });
    match missing {
        None => Ok(()),
        Some(backend) => Err(Error::new(
            ErrorClass::Conflict,
            doing,
            format!("the answer does not hold {}", backend.key),
        )),
    }
}
