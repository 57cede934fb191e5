//! A real node: its namespaces' network and mounts, and containerd, the registry, the kubelet and kube-proxy.

use std::collections::BTreeSet;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::mount::{MountFlags, mount, mount_bind};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, wait as wait_any, waitpid};
use serde_json::json;

use super::plan::{Plan, write};
use super::service::{Ready, Service, flags};
use crate::{env, wait};

const CONTAINERD: &str = include_str!("../../../../tests/cluster/containerd.toml");
const CNI: &str = include_str!("../../../../tests/cluster/cni.conflist");
const KUBELET: &str = include_str!("../../../../tests/cluster/kubelet.yaml");
const KUBE_PROXY: &str = include_str!("../../../../tests/cluster/kube-proxy.yaml");

/// What a kubelet sets for the whole machine; it gets files of its own to write to.
const SYSCTLS: [&str; 6] = [
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
];

/// The real node.
pub(super) const NAME: &str = "real-node";

/// Where node software writes whatever it is told; each gets a file system that goes with the namespace.
const PRIVATE: [&str; 5] = ["/var/lib/kubelet", "/run/containerd", "/var/lib/cni", "/run/netns", "/var/log/containers"];

/// Whether this machine can have a real node, and if not, what to install or do.
pub(super) fn check() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("a real node needs root: run as root, or use fake nodes");
    }
    let needed = [("ip", "iproute2"), ("nft", "nftables"), ("unshare", "util-linux"), ("setpriv", "util-linux")];
    let missing: Vec<_> = needed.into_iter().filter(|(program, _)| env::on_path(program).is_none()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let programs: Vec<String> = missing.iter().map(|(program, _)| format!("`{program}`")).collect();
    let packages: BTreeSet<&str> = missing.iter().map(|(_, package)| *package).collect();
    let packages: Vec<&str> = packages.into_iter().collect();
    bail!(
        "a real node needs {}: install the Debian package{} {} (apt-get install {})",
        programs.join(", "),
        if packages.len() == 1 { "" } else { "s" },
        packages.join(", "),
        packages.join(" ")
    )
}

/// A status patch with what the node controller says of a node that is not heard of.
pub(super) fn silent() -> Result<String> {
    let date = Command::new("date").args(["--utc", "+%Y-%m-%dT%H:%M:%SZ"]).output().context("running date")?;
    let condition = json!({
        "type": "Ready",
        "status": "Unknown",
        "reason": "NodeStatusUnknown",
        "message": "Kubelet stopped posting node status.",
        "lastTransitionTime": String::from_utf8_lossy(&date.stdout).trim(),
    });
    Ok(json!({"status": {"conditions": [condition]}}).to_string())
}

/// Network and mounts, made from inside the new namespaces.
pub(super) fn prepare(plan: &Plan) -> Result<()> {
    ip("link set lo up")?;
    ip("link add node0 type bridge")?;
    ip("address add 172.31.0.1/24 dev node0")?;
    ip("link set node0 up")?;
    ip("route add default dev node0")?;
    let containerd = plan.text("node/containerd");
    for directory in PRIVATE.into_iter().chain([containerd.as_str()]) {
        std::fs::create_dir_all(directory).with_context(|| format!("creating {directory}"))?;
        mount("tmpfs", directory, "tmpfs", MountFlags::empty(), c"mode=0755")
            .with_context(|| format!("mounting a tmpfs on {directory}"))?;
    }
    for name in SYSCTLS {
        let real = Path::new("/proc/sys").join(name);
        let Ok(value) = std::fs::read(&real) else { continue };
        let own = plan.path("node/sysctl").join(name.replace('/', "."));
        write(&own, value)?;
        mount_bind(&own, &real).with_context(|| format!("covering {}", real.display()))?;
    }
    configure(plan)
}

fn ip(args: &str) -> Result<()> {
    let program = env::on_path("ip").context("`ip` is missing: install the Debian package iproute2")?;
    let output = Command::new(program).args(args.split(' ')).output()?;
    if !output.status.success() {
        bail!("ip {args}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

fn configure(plan: &Plan) -> Result<()> {
    let cni = plan.program("ptp")?.parent().context("the CNI plugins have no directory")?;
    let fill = |text: &str, runc: &str| {
        text.replace("@DIR@", &plan.dir.display().to_string())
            .replace("@CNI@", &cni.display().to_string())
            .replace("@CGROUP@", &plan.cgroup)
            .replace("@RUNC@", runc)
    };
    write(&plan.path("config/containerd.toml"), fill(CONTAINERD, &runtime_program(plan)?))?;
    write(&plan.path("config/kubelet.yaml"), fill(KUBELET, ""))?;
    write(&plan.path("config/kube-proxy.yaml"), fill(KUBE_PROXY, ""))?;
    write(&plan.path("node/cni.d/10-ptp.conflist"), CNI)?;
    let registry = format!("http://127.0.0.1:{}", plan.ports.registry);
    let hosts = format!("server = \"{registry}\"\n[host.\"{registry}\"]\n  capabilities = [\"pull\", \"resolve\"]\n");
    write(&plan.path("node/certs.d/registry.example/hosts.toml"), hosts)
}

/// runc itself, or a script before it when it was built without libseccomp and would refuse every profile.
fn runtime_program(plan: &Plan) -> Result<String> {
    use std::os::unix::fs::PermissionsExt;
    let runc = plan.program("runc")?;
    let output = Command::new(runc).arg("--version").output().context("running runc")?;
    if String::from_utf8_lossy(&output.stdout).contains("libseccomp") {
        return Ok(runc.display().to_string());
    }
    let script = plan.path("node/runc");
    let own = env::own_program()?;
    write(&script, format!("#!/bin/sh\nexec '{}' __runc '{}' \"$@\"\n", own.display(), runc.display()))?;
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755))?;
    Ok(script.display().to_string())
}

/// Stands in front of a runc without libseccomp: takes the profile out of the bundle, then becomes runc.
pub(crate) fn runc(program: &Path, args: &[String]) -> Result<()> {
    let bundle = args.iter().skip_while(|arg| *arg != "--bundle").nth(1);
    if let Some(bundle) = bundle {
        let file = Path::new(bundle).join("config.json");
        if let Ok(bytes) = std::fs::read(&file) {
            std::fs::write(&file, without_seccomp(&bytes)?)?;
        }
    }
    Err(Command::new(program).args(args).exec()).with_context(|| format!("starting {}", program.display()))
}

fn without_seccomp(config: &[u8]) -> Result<Vec<u8>> {
    let mut config: serde_json::Value = serde_json::from_slice(config)?;
    if let Some(linux) = config.get_mut("linux").and_then(serde_json::Value::as_object_mut) {
        linux.remove("seccomp");
    }
    Ok(serde_json::to_vec(&config)?)
}

/// What can start at once: containerd and the registry.
pub(super) fn runtime(plan: &Plan) -> Result<Vec<Service>> {
    let mut containerd = Service::new(
        plan,
        "containerd",
        "containerd",
        flags(&[("config", &plan.text("config/containerd.toml"))]),
        Ready::Running,
    )?;
    // It finds its shim on PATH.
    let shim = plan.program("containerd-shim-runc-v2")?.parent().context("the shim has no directory")?;
    containerd.launch.env.push(("PATH".to_owned(), env::path_with(shim)));
    let mut args = vec!["registry".to_owned()];
    args.extend(flags(&[("dir", &plan.text("registry")), ("listen", &format!("127.0.0.1:{}", plan.ports.registry))]));
    let registry = Service::new(plan, "registry", "app", args, Ready::Listens(plan.ports.registry))?;
    Ok(vec![containerd, registry])
}

/// What needs the API server: the kubelet and kube-proxy.
pub(super) fn services(plan: &Plan) -> Result<Vec<Service>> {
    let mut args = flags(&[
        ("config", &plan.text("config/kubelet.yaml")),
        ("kubeconfig", &plan.text("kube/kubelet")),
        ("root-dir", &plan.text("node/kubelet")),
        ("cert-dir", &plan.text("node/kubelet-pki")),
        ("hostname-override", "real-node"),
        ("node-ip", "172.31.0.1"),
        ("node-labels", "type=real"),
    ]);
    args.extend(plan.options.kubelet_args.iter().cloned());
    wait::until("containerd to listen", Duration::from_secs(30), || {
        Ok(std::os::unix::net::UnixStream::connect("/run/containerd/containerd.sock").is_ok().then_some(()))
    })?;
    let kubelet = Service::new(plan, "kubelet", "kubelet", args, Ready::Answers(10248, "/healthz"))?;
    let proxy = flags(&[("config", &plan.text("config/kube-proxy.yaml"))]);
    let proxy = Service::new(plan, "kube-proxy", "kube-proxy", proxy, Ready::Running)?;
    Ok(vec![kubelet, proxy])
}

/// Reaps ended processes that were left to us, the first process of the namespace; not the services themselves.
pub(super) fn bury_orphans(own: impl Iterator<Item = i32>) {
    if std::process::id() != 1 {
        return;
    }
    let own: BTreeSet<i32> = own.collect();
    for pid in processes().filter(|pid| !own.contains(pid)) {
        if let Some(pid) = Pid::from_raw(pid) {
            // Not our child, or not ended: nothing to do.
            let _ = waitpid(Some(pid), WaitOptions::NOHANG);
        }
    }
}

/// Ends and reaps everything else in this process namespace.
pub(super) fn end_namespace() {
    if std::process::id() != 1 {
        return;
    }
    let emptied = wait::until("the namespace to be empty", Duration::from_secs(10), || {
        for pid in processes() {
            if let Some(pid) = Pid::from_raw(pid) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        while let Ok(Some(_)) = wait_any(WaitOptions::NOHANG) {}
        Ok((processes().count() == 0).then_some(()))
    });
    if let Err(error) = emptied {
        // The kernel ends the rest with the namespace.
        crate::ui::say(format_args!("{error:#}"));
    }
}

/// Every process of this namespace but the first.
fn processes() -> impl Iterator<Item = i32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(|pid| *pid > 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_seccomp_profile_is_taken_out() {
        let before = br#"{"linux":{"seccomp":{"defaultAction":"SCMP_ACT_ERRNO"},"namespaces":[]},"root":{}}"#;
        let after: serde_json::Value = serde_json::from_slice(&without_seccomp(before).unwrap()).unwrap();
        assert_eq!(after, serde_json::json!({"linux": {"namespaces": []}, "root": {}}));
    }
}
