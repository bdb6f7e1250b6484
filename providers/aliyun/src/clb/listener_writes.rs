//! Creating, changing, starting and deleting listeners.

use gatewright_core::{
    Action, Error, ErrorClass, ListenerSettings, ListenerStatus, ObservedListener,
    ObservedLoadBalancer, Port, Protocol,
};

use super::answers::Accepted;
use super::{BUSY_TRIES, BUSY_WAIT, Clb, is_busy, is_gone, listeners, write};

/// A listener as an action names it.
pub(super) struct Target<'a> {
    pub(super) port: Port,
    pub(super) protocol: Protocol,
    /// Full names.
    pub(super) description: &'a str,
    pub(super) group: &'a str,
    pub(super) settings: &'a ListenerSettings,
}

impl Clb {
    pub(super) async fn create_listener(
        &self,
        action: &Action,
        lb: &mut ObservedLoadBalancer,
        target: &Target<'_>,
    ) -> Result<(), Error> {
        let group = Self::group_of(lb, target.group, action)?.id.clone();
        let known = lb.listener(target.port, target.protocol);
        if known.is_some_and(|known| known.description == target.description) {
            return Ok(());
        }
        let settings = listeners::at_creation(target.protocol, target.settings);
        let call = write(
            listeners::create_action(target.protocol),
            action.to_string(),
        )
        .with("LoadBalancerId", &lb.id)
        .with("ListenerPort", target.port)
        .with("VServerGroupId", &group)
        .with("Description", target.description);
        let call = listeners::with_settings(call, target.protocol, &settings, true);
        match self.write::<Accepted>(&call).await {
            Ok(_) => {}
            Err(error) if is_taken(&error) => {
                // An earlier try of ours, or somebody else's listener.
                let found = self.read_listener(lb, target.port, target.protocol).await?;
                return match found {
                    Some(found) if found.description == target.description => Ok(()),
                    _ => Err(error),
                };
            }
            Err(error) => return Err(error),
        }
        lb.put_listener(ObservedListener {
            port: target.port,
            protocol: target.protocol,
            description: target.description.to_owned(),
            group: Some(group),
            status: ListenerStatus::Stopped,
            settings,
            unsupported: listeners::unsupported(target.protocol),
        });
        Ok(())
    }

    pub(super) async fn update_listener(
        &self,
        action: &Action,
        lb: &mut ObservedLoadBalancer,
        target: &Target<'_>,
    ) -> Result<(), Error> {
        let group = Self::group_of(lb, target.group, action)?.id.clone();
        let settings = listeners::supported(target.protocol, target.settings);
        let call = write(listeners::set_action(target.protocol), action.to_string())
            .with("LoadBalancerId", &lb.id)
            .with("ListenerPort", target.port)
            .with("VServerGroup", "on")
            .with("VServerGroupId", &group)
            .with("Description", target.description);
        let call = listeners::with_settings(call, target.protocol, &settings, false);
        self.write::<Accepted>(&call).await?;
        if let Some(listener) = lb.listener_mut(target.port, target.protocol) {
            target.description.clone_into(&mut listener.description);
            listener.group = Some(group);
            listener.settings.adopt(&settings);
        }
        Ok(())
    }

    pub(super) async fn start_listener(
        &self,
        action: &Action,
        lb: &mut ObservedLoadBalancer,
        port: Port,
        protocol: Protocol,
    ) -> Result<(), Error> {
        let runs = |listener: &ObservedListener| {
            matches!(
                listener.status,
                ListenerStatus::Running | ListenerStatus::Starting | ListenerStatus::Configuring
            )
        };
        if lb.listener(port, protocol).is_some_and(runs) {
            return Ok(());
        }
        let call = write("StartLoadBalancerListener", action.to_string())
            .with("LoadBalancerId", &lb.id)
            .with("ListenerPort", port)
            .with("ListenerProtocol", protocol);
        // The same code stands for "already running" and for "still stopping", so its state is
        // read before the next try.
        for _ in 0..BUSY_TRIES {
            match self.client.send::<Accepted>(&call).await {
                Ok(_) => {
                    if let Some(listener) = lb.listener_mut(port, protocol) {
                        listener.status = ListenerStatus::Starting;
                    }
                    return Ok(());
                }
                Err(error) if is_busy(&error) => {
                    if self
                        .read_listener(lb, port, protocol)
                        .await?
                        .is_some_and(|l| runs(&l))
                    {
                        return Ok(());
                    }
                    self.client.clock().sleep(BUSY_WAIT).await;
                }
                Err(error) => return Err(error),
            }
        }
        Err(call.error(
            ErrorClass::Conflict,
            "the listener is in no state to be started",
        ))
    }

    pub(super) async fn delete_listener(
        &self,
        action: &Action,
        lb: &mut ObservedLoadBalancer,
        port: Port,
        protocol: Protocol,
    ) -> Result<(), Error> {
        let call = write("DeleteLoadBalancerListener", action.to_string())
            .with("LoadBalancerId", &lb.id)
            .with("ListenerPort", port)
            .with("ListenerProtocol", protocol);
        match self.write::<Accepted>(&call).await {
            Ok(_) => {}
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(error),
        }
        lb.remove_listener(port, protocol);
        Ok(())
    }

    /// Reads all listeners anew and gives the one on a port.
    async fn read_listener(
        &self,
        lb: &mut ObservedLoadBalancer,
        port: Port,
        protocol: Protocol,
    ) -> Result<Option<ObservedListener>, Error> {
        let id = lb.id.clone();
        let found = self.listeners(&[id.as_str()]).await?;
        lb.listeners.clear();
        for (_, listener) in found {
            lb.put_listener(listener);
        }
        Ok(lb.listener(port, protocol).cloned())
    }
}

fn is_taken(error: &Error) -> bool {
    matches!(
        error.code.as_deref(),
        Some(
            "ListenerAlreadyExists"
                | "ListenerPortConflict"
                | "InvalidParameter.ListenerPortConflict"
        )
    )
}
