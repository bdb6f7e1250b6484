//! What a runner that was killed left behind: Envoys without a parent, and their directories.

use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Where a Pod's process id is kept, in the Pod's directory.
pub(super) const PID_FILE: &str = "pid";

/// Ends the processes that an earlier runner started in `directory` and removes what they used.
///
/// A process is only taken for one of them when its command line names its Pod's directory: ids are
/// used again.
pub(super) fn sweep(directory: &Path) {
    let Ok(pods) = std::fs::read_dir(directory) else {
        return;
    };
    for pod in pods.flatten().map(|entry| entry.path()) {
        let id = std::fs::read_to_string(pod.join(PID_FILE)).ok();
        if let Some(id) = id.and_then(|text| text.trim().parse::<i32>().ok())
            && is_of(id, &pod)
        {
            tracing::warn!(id, "ending an envoy that an earlier run left behind");
            // It may have ended just now, which is as good.
            kill(Pid::from_raw(id), Signal::SIGKILL).ok();
        }
        if let Err(error) = std::fs::remove_dir_all(&pod) {
            tracing::warn!(directory = %pod.display(), %error, "not removed");
        }
    }
}

fn is_of(id: i32, pod: &Path) -> bool {
    std::fs::read(format!("/proc/{id}/cmdline"))
        .is_ok_and(|line| String::from_utf8_lossy(&line).contains(&*pod.to_string_lossy()))
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_process_is_ended_only_when_it_is_of_the_pod() {
        let directory =
            std::env::temp_dir().join(format!("gatewright-sweep-{}", std::process::id()));
        let (ours, other) = (directory.join("ours"), directory.join("other"));
        let start = |path: &Path, argument: &Path| {
            std::fs::create_dir_all(path).unwrap();
            let child = Command::new("sh")
                .args(["-c", "read line", &*argument.to_string_lossy()])
                .stdin(Stdio::piped())
                .spawn()
                .unwrap();
            std::fs::write(path.join(PID_FILE), child.id().to_string()).unwrap();
            child
        };
        let mut mine = start(&ours, &ours);
        let mut foreign = start(&other, Path::new("/somewhere/else"));
        sweep(&directory);
        assert!(!mine.wait().unwrap().success());
        assert!(
            foreign.try_wait().unwrap().is_none(),
            "a foreign process was ended"
        );
        drop(foreign.stdin.take());
        foreign.wait().unwrap();
        assert!(std::fs::read_dir(&directory).unwrap().next().is_none());
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
