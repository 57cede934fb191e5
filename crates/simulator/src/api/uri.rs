//! What a request's path and query name.

use std::collections::BTreeMap;

use crate::failure::Failure;

/// A path of the API server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Path {
    /// `/version`
    Version,
    /// `/livez`, `/readyz`, `/healthz`
    Health,
    /// `/api`
    Core,
    /// `/apis`
    Groups,
    /// `/apis/apps`
    Group(String),
    /// `/api/v1`, `/apis/apps/v1`
    Resources { group: String, version: String },
    /// Objects.
    Objects(Place),
    /// Anything else.
    Other,
}

/// A collection, an object, or a subresource of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) plural: String,
    /// Empty for all namespaces, and for what has none.
    pub(super) namespace: String,
    /// Empty for a collection.
    pub(super) name: String,
    pub(super) subresource: String,
}

impl Path {
    pub(super) fn parse(path: &str) -> Self {
        let parts: Vec<String> = path.split('/').filter(|part| !part.is_empty()).map(decode).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        match parts.as_slice() {
            ["version"] => Self::Version,
            ["livez" | "readyz" | "healthz", ..] => Self::Health,
            ["api"] => Self::Core,
            ["apis"] => Self::Groups,
            ["apis", group] => Self::Group((*group).to_owned()),
            ["api", version] => Self::Resources { group: String::new(), version: (*version).to_owned() },
            ["apis", group, version] => Self::Resources { group: (*group).to_owned(), version: (*version).to_owned() },
            ["api", version, rest @ ..] => Self::objects("", version, rest),
            ["apis", group, version, rest @ ..] => Self::objects(group, version, rest),
            _ => Self::Other,
        }
    }

    fn objects(group: &str, version: &str, rest: &[&str]) -> Self {
        let (namespace, rest) = match rest {
            ["namespaces", _] | ["namespaces", _, "status" | "finalize"] => ("", rest),
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
            rest => ("", rest),
        };
        let [plural, rest @ ..] = rest else { return Self::Other };
        let (name, subresource) = match rest {
            [] => ("", String::new()),
            [name] => (*name, String::new()),
            [name, subresource @ ..] => (*name, subresource.join("/")),
        };
        Self::Objects(Place {
            group: group.to_owned(),
            version: version.to_owned(),
            plural: (*plural).to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            subresource,
        })
    }
}

/// The parameters of a query; the first of each name.
#[derive(Debug, Clone, Default)]
pub(super) struct Query(BTreeMap<String, String>);

impl Query {
    pub(super) fn parse(query: &str) -> Self {
        let mut parameters = BTreeMap::new();
        for part in query.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            parameters.entry(decode(name)).or_insert_with(|| decode(value));
        }
        Self(parameters)
    }

    /// A parameter; empty where it is not given.
    pub(super) fn text(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    pub(super) fn is_true(&self, name: &str) -> bool {
        matches!(self.text(name), "1" | "true" | "True" | "TRUE" | "t" | "T")
    }

    pub(super) fn integer(&self, name: &str) -> Option<i64> {
        self.text(name).parse().ok()
    }

    /// Whether this is a dry run.
    ///
    /// # Errors
    /// 422 for another value than `All`.
    pub(super) fn dry_run(&self, of: &str) -> Result<bool, Failure> {
        match self.text("dryRun") {
            "" => Ok(false),
            "All" => Ok(true),
            other => {
                let message = format!("Unsupported value: [\"{other}\"]: supported values: \"All\"");
                Err(Failure::invalid(of, "meta.k8s.io", "", ("FieldValueNotSupported", "dryRun", &message)))
            }
        }
    }
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits: String = rest.by_ref().take(2).map(char::from).collect();
                u8::from_str_radix(&digits, 16).unwrap_or(b'%')
            }
            byte => byte,
        });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(path: &str) -> String {
        match Path::parse(path) {
            Path::Objects(it) => {
                format!("{}|{}|{}|{}|{}|{}", it.group, it.version, it.plural, it.namespace, it.name, it.subresource)
            }
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn paths_name_objects() {
        assert_eq!(place("/api/v1/namespaces/shop/pods/cart-1/log"), "|v1|pods|shop|cart-1|log");
        assert_eq!(place("/apis/apps/v1/deployments"), "apps|v1|deployments|||");
        assert_eq!(place("/api/v1/namespaces/shop"), "|v1|namespaces||shop|");
        assert_eq!(place("/api/v1/namespaces/shop/finalize"), "|v1|namespaces||shop|finalize");
        assert_eq!(place("/api/v1/namespaces"), "|v1|namespaces|||");
        assert_eq!(place("/api/v1/nodes/n-1/status"), "|v1|nodes||n-1|status");
        assert_eq!(place("/apis/evenkeel.dev/v1alpha1"), r#"Resources { group: "evenkeel.dev", version: "v1alpha1" }"#);
    }

    #[test]
    fn queries_are_decoded() {
        let query = Query::parse("?fieldSelector=spec.nodeName%3Dn-1&dryRun=All&limit=5".trim_start_matches('?'));
        assert_eq!(query.text("fieldSelector"), "spec.nodeName=n-1");
        assert_eq!(query.dry_run("DeleteOptions"), Ok(true));
        assert_eq!(query.integer("limit"), Some(5));
    }
}
