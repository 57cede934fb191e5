//! Image references, pulls, and what container runtimes say when there is no image.

use crate::images::{ImageLife, Refused};

/// Why a reference is none, in the words of the reference parser.
pub(crate) fn invalid(reference: &str) -> Option<String> {
    let rest = reference.split_once('@').map_or(reference, |(name, _)| name);
    let (name, tag) = match rest.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')) {
        Some((name, tag)) => (name, Some(tag)),
        None => (rest, None),
    };
    let tag_is_good = tag.is_none_or(|tag| {
        !tag.is_empty() && tag.len() <= 128 && tag.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
    });
    let (host, path) = match name.split_once('/') {
        Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => (host, path),
        _ => ("", name),
    };
    let upper = path.split(':').next().unwrap_or_default();
    let why = if upper.chars().any(|c| c.is_ascii_uppercase()) {
        format!("invalid reference format: repository name ({upper}) must be lowercase")
    } else {
        let component = |part: &str| {
            !part.is_empty()
                && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c))
                && !part.starts_with(['.', '_', '-'])
                && !part.ends_with(['.', '_', '-'])
        };
        let host_is_good = host.chars().all(|c| c.is_ascii_alphanumeric() || ".-:".contains(c));
        if tag_is_good && host_is_good && path.split('/').all(component) {
            return None;
        }
        "invalid reference format".to_owned()
    };
    Some(format!("Failed to apply default image tag {reference:?}: couldn't parse image name {reference:?}: {why}"))
}

/// The reference with its registry and tag, as runtimes report it.
pub(crate) fn full(reference: &str) -> String {
    let (name, digest) = reference.split_once('@').map_or((reference, None), |(name, digest)| (name, Some(digest)));
    let first = name.split('/').next().unwrap_or_default();
    let name = if !name.contains('/') {
        format!("docker.io/library/{name}")
    } else if first.contains(['.', ':']) || first == "localhost" {
        name.to_owned()
    } else {
        format!("docker.io/{name}")
    };
    let tagged = name.rsplit('/').next().is_some_and(|last| last.contains(':'));
    match digest {
        Some(digest) => format!("{name}@{digest}"),
        None if tagged => name,
        None => format!("{name}:latest"),
    }
}

/// The registry's host and the repository in it.
fn host_and_path(full: &str) -> (&str, &str) {
    full.split_once('/').unwrap_or(("", full))
}

/// Why a pull fails, as containerd says it.
pub(crate) fn refusal(reference: &str, life: &ImageLife) -> Option<String> {
    let full = full(reference);
    let before = format!("failed to pull and unpack image \"{full}\": ");
    let (host, path) = host_and_path(&full);
    let host = if host == "docker.io" { "registry-1.docker.io" } else { host };
    let (repository, tag) = path.rsplit_once(':').unwrap_or((path, "latest"));
    Some(match life.refused {
        Some(Refused::Unauthorized) => format!(
            "rpc error: code = Unknown desc = {before}failed to resolve image: pull access denied, repository does not \
             exist or may require authorization: server message: insufficient_scope: authorization failed"
        ),
        Some(Refused::Unreachable) => format!(
            "rpc error: code = Unknown desc = {before}failed to resolve image: failed to do request: Head \
             \"https://{host}/v2/{repository}/manifests/{tag}\": dial tcp: lookup {host}: i/o timeout"
        ),
        Some(Refused::WrongPlatform) => {
            format!("rpc error: code = NotFound desc = {before}no match for platform in manifest: not found")
        }
        None if life.missing => {
            format!("rpc error: code = NotFound desc = {before}failed to resolve image: {full}: not found")
        }
        None => return None,
    })
}

/// Sixty-four hexadecimal digits that are always the same for a text: digests and container ids.
pub(crate) fn digest(of: &str) -> String {
    let mut digits = String::with_capacity(64);
    for part in 0_u64..4 {
        // FNV-1a, with the part as another basis.
        let mut hash = 0xcbf2_9ce4_8422_2325_u64 ^ part.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for byte in of.bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        hash ^= hash >> 32;
        hash = hash.wrapping_mul(0xd6e8_feb8_6659_fd93);
        hash ^= hash >> 32;
        digits.push_str(&format!("{hash:016x}"));
    }
    digits
}

/// What a status names as `imageID`.
pub(crate) fn image_id(reference: &str) -> String {
    let full = full(reference);
    if full.contains('@') {
        return full;
    }
    let (repository, _) = full.rsplit_once(':').unwrap_or((&full, ""));
    format!("{repository}@sha256:{}", digest(&full))
}

/// How big an image is said to be, in bytes.
pub(crate) fn size(reference: &str) -> u64 {
    u64::from_str_radix(digest(reference).get(..6).unwrap_or("0"), 16).unwrap_or_default() + 5_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_judged_as_the_kubelet_judges_them() {
        for good in ["cart:1", "shop/cart", "registry.example/app:v1", "localhost:5000/a/b:x_Y.1", "a@sha256:00"] {
            assert_eq!(invalid(good), None, "{good}");
        }
        // As a real kubelet said it (fixtures/events.json).
        let real = "Failed to apply default image tag \"Registry.Example/APP:::x\": couldn't parse image name \
                    \"Registry.Example/APP:::x\": invalid reference format: repository name (APP) must be lowercase";
        assert_eq!(invalid("Registry.Example/APP:::x").as_deref(), Some(real));
        assert!(invalid("cart:").is_some_and(|why| why.ends_with("invalid reference format")));
    }

    #[test]
    fn references_become_full() {
        assert_eq!(full("cart:1"), "docker.io/library/cart:1");
        assert_eq!(full("shop/cart"), "docker.io/shop/cart:latest");
        assert_eq!(full("registry.example/app:v1"), "registry.example/app:v1");
    }

    #[test]
    fn a_missing_image_is_refused_in_containerds_words() {
        let life = ImageLife { missing: true, ..ImageLife::default() };
        let real = "rpc error: code = NotFound desc = failed to pull and unpack image \"registry.example/app:nope\": \
                    failed to resolve image: registry.example/app:nope: not found";
        assert_eq!(refusal("registry.example/app:nope", &life).as_deref(), Some(real));
        assert_eq!(refusal("a", &ImageLife::default()), None);
    }
}
