//! What can't be tested on somebody else's cluster.

const BY_CERTIFICATE: &str = "people log in with client certificates, which are signed by the cluster's own authority";

/// End-to-end tests that need a cluster of their own, each with the reason. `cargo xtask test --kubeconfig` prints
/// them and leaves them out; everything else has to pass on any cluster.
pub(super) const NEEDS_OWN_CLUSTER: &[(&str, &str)] = &[
    ("approvals::what_a_person_approves_by_kubectl_is_carried_out", BY_CERTIFICATE),
    ("approvals::refusals::whatever_is_no_approval_of_what_is_asked_is_refused_with_a_reason", BY_CERTIFICATE),
    ("approvals::refusals::one_denial_ends_it_at_once", BY_CERTIFICATE),
    (
        "approvals::forgeries::of_a_thousand_forgeries_none_counts_also_in_the_seconds_when_admission_is_installed",
        BY_CERTIFICATE,
    ),
    (
        "approvals::restored::of_an_etcd_that_was_restored_nothing_is_done_that_is_past_its_time_or_was_approved_in_another_history",
        "it stops the cluster's etcd and puts it back to what it was",
    ),
    (
        "foreign::on_a_foreign_cluster_a_repair_is_recorded_as_the_audit_log_has_it_and_nothing_stays",
        "it starts a cluster of ours to play the foreign one, and compares with its audit log",
    ),
    (
        "foreign::somebody_else_s_installation_is_left_alone_and_what_a_failed_test_left_is_not",
        "it starts a cluster of ours to play the foreign one",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env;

    #[test]
    fn only_tests_that_exist_are_left_out() {
        let suites = env::workspace().unwrap().join("tests/it");
        for (test, reason) in NEEDS_OWN_CLUSTER {
            let (module, name) = test.rsplit_once("::").unwrap();
            let module = module.replace("::", "/");
            let files = [suites.join(format!("{module}.rs")), suites.join(&module).join("mod.rs")];
            let [file, folder] = &files;
            let file = if file.is_file() { file } else { folder };
            let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            assert!(text.contains(&format!("fn {name}(")), "{} has no test {name}", file.display());
            assert!(!reason.is_empty(), "{test}");
        }
    }
}
