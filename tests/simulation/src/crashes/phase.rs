use super::{Change, Run, SETTLED, history};
use crate::Side;
use crate::plan::Wanted;

/// A piece of work in which the daemon is interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The first daemon of a cluster starts, and the quickstart's objects are applied.
    Create,
    /// Somebody asks for another certificate.
    Rotate,
    ScaleIn,
    ScaleOut,
    /// Another Pod template.
    Update,
    /// A daemon starts where all is done.
    Restart,
    /// Everything is taken away.
    Delete,
}

impl Phase {
    pub(super) const ALL: [Self; 7] = [
        Self::Create,
        Self::Rotate,
        Self::ScaleIn,
        Self::ScaleOut,
        Self::Update,
        Self::Restart,
        Self::Delete,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Rotate => "rotate",
            Self::ScaleIn => "scale in",
            Self::ScaleOut => "scale out",
            Self::Update => "update",
            Self::Restart => "restart",
            Self::Delete => "delete",
        }
    }

    /// A state as the phase always ends in it. At how many places a certificate was seen is written
    /// when it is next looked for: by a new daemon at once, otherwise in its time.
    pub(super) fn plain(self, state: &str) -> String {
        if !matches!(self, Self::ScaleIn | Self::ScaleOut) {
            return state.to_owned();
        }
        let lines = state.lines().map(|line| {
            let seen = line.split_once("Some(\"seen at ");
            let rest = seen.and_then(|(start, rest)| Some((start, rest.split_once(' ')?.1)));
            rest.map_or_else(
                || line.to_owned(),
                |(start, rest)| format!("{start}Some(\"seen at all {rest}"),
            )
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    /// Brings a new world to where the phase begins.
    pub(super) async fn begin(self, run: &mut Run) {
        run.sim.gates[0].kube.observe(|side, _, name| {
            if side == Side::Before && !name.starts_with("GET ") {
                history::line(format!("kube {name}"));
            }
        });
        if self != Self::Create {
            run.start_all().await;
            run.wanted.replicas = if self == Self::ScaleOut { 1 } else { 2 };
            run.wanted.apply(&run.sim.kube).await.expect("objects");
            run.pass(SETTLED).await;
        }
        if self == Self::Restart {
            run.kill(0);
        }
        history::line(format!("-- {}", self.name()));
    }

    /// What makes the daemon work, which may die at once.
    pub(super) async fn happens(self, run: &mut Run) {
        run.watchman.happens();
        match self {
            Self::Create => users_want(run, run.wanted),
            Self::Rotate => run.sim.force_rotation().await,
            Self::ScaleIn => users(run, Change::Scale(1)),
            Self::ScaleOut => users(run, Change::Scale(3)),
            Self::Update => users(run, Change::Update(1)),
            Self::Restart => {}
            Self::Delete => {
                run.wanted.settle(true);
                run.watchman.users(Change::DeleteGateway, &run.wanted);
                users_want(run, run.wanted);
            }
        }
        run.bring_up(0).await;
        run.watchman.happens();
    }
}

fn users(run: &mut Run, change: Change) {
    run.wanted.change(change);
    run.watchman.users(change, &run.wanted);
    users_want(run, run.wanted);
}

/// The users make their requests while the daemon works, and dies.
fn users_want(run: &Run, wanted: Wanted) {
    let kube = run.sim.kube.clone();
    run.sim.laptop.tasks.spawn("users", async move {
        wanted.remove(&kube).await.expect("deletions");
        wanted.apply(&kube).await.expect("objects");
    });
}
