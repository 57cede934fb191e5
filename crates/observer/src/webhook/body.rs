//! From a request's body to bytes that are worth parsing: bounded as sent, unpacked and nested.

use std::io::Read as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http_body_util::BodyExt as _;

use super::refusal::Refusal;

/// Bytes of bodies that may be held at a time.
#[derive(Debug)]
pub(crate) struct Budget {
    free: AtomicUsize,
}

impl Budget {
    pub(crate) fn new(bytes: usize) -> Arc<Self> {
        Arc::new(Self { free: AtomicUsize::new(bytes) })
    }
}

/// Bytes taken from a budget, given back on drop.
#[derive(Debug)]
pub(crate) struct Held {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Held {
    pub(crate) fn none_of(budget: &Arc<Budget>) -> Self {
        Self { budget: Arc::clone(budget), bytes: 0 }
    }

    /// Takes so many more; false when there are not so many.
    fn take(&mut self, bytes: usize) -> bool {
        let taken = self.budget.free.fetch_update(Ordering::AcqRel, Ordering::Acquire, |free| free.checked_sub(bytes));
        if taken.is_ok() {
            self.bytes += bytes;
        }
        taken.is_ok()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.free.fetch_add(self.bytes, Ordering::AcqRel);
    }
}

/// How a body is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packing {
    None,
    Gzip,
}

/// Whether the headers announce something that can be read.
pub(crate) fn packing(headers: &HeaderMap, limit: usize) -> Result<Packing, Refusal> {
    let text = |name| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    if let Some(found) = text(CONTENT_TYPE) {
        let kind = found.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("application/json") {
            return Err(Refusal::Type(found));
        }
    }
    if let Some(length) = text(CONTENT_LENGTH).and_then(|length| length.parse::<usize>().ok())
        && length > limit
    {
        return Err(Refusal::TooLarge { limit, unpacked: "" });
    }
    match text(CONTENT_ENCODING) {
        None => Ok(Packing::None),
        Some(found) if found.trim().is_empty() || found.eq_ignore_ascii_case("identity") => Ok(Packing::None),
        Some(found) if found.trim().eq_ignore_ascii_case("gzip") => Ok(Packing::Gzip),
        Some(found) => Err(Refusal::Encoding(found)),
    }
}

/// Reads a body of at most `limit` bytes. `busy` is what is said when the budget is used up.
pub(crate) async fn read(body: &mut Body, limit: usize, held: &mut Held, busy: &Refusal) -> Result<Bytes, Refusal> {
    let mut first = Bytes::new();
    let mut more: Option<BytesMut> = None;
    let mut length = 0_usize;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Refusal::Malformed(format!("the body broke off: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        length = length.saturating_add(data.len());
        if length > limit {
            return Err(Refusal::TooLarge { limit, unpacked: "" });
        }
        if !held.take(data.len()) {
            return Err(busy.clone());
        }
        // Most bodies are one frame, and then nothing is copied.
        match &mut more {
            None if first.is_empty() => first = data,
            None => {
                let mut joined = BytesMut::with_capacity(length * 2);
                joined.extend_from_slice(&first);
                joined.extend_from_slice(&data);
                more = Some(joined);
            }
            Some(joined) => joined.extend_from_slice(&data),
        }
    }
    Ok(more.map_or(first, BytesMut::freeze))
}

/// Reads what is left of a body and throws it away, up to a size and a time.
pub(crate) async fn drain(body: &mut Body, most: usize, patience: Duration) {
    let mut left = most;
    let all = async {
        while let Some(Ok(frame)) = body.frame().await {
            match left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) {
                Some(rest) => left = rest,
                None => break,
            }
        }
    };
    // Either way the answer is sent then.
    let _: Result<(), _> = tokio::time::timeout(patience, all).await;
}

/// Unpacks gzip to at most `limit` bytes.
pub(crate) fn gunzip(packed: &[u8], limit: usize, held: &mut Held, busy: &Refusal) -> Result<Bytes, Refusal> {
    const STEP: usize = 64 * 1024;
    let mut reader = flate2::read::MultiGzDecoder::new(packed);
    let mut unpacked = Vec::new();
    loop {
        if !held.take(STEP) {
            return Err(busy.clone());
        }
        let read = (&mut reader).take(STEP as u64).read_to_end(&mut unpacked);
        let read =
            read.map_err(|error| Refusal::Malformed(format!("Content-Encoding is gzip, the body is not: {error}")))?;
        if unpacked.len() > limit {
            return Err(Refusal::TooLarge { limit, unpacked: " unpacked" });
        }
        if read < STEP {
            return Ok(Bytes::from(unpacked));
        }
    }
}

/// Whether JSON is nested no deeper than `most`. One pass over the bytes, nothing allocated; what
/// is not JSON is left for the parser to say.
pub(crate) fn check_depth(json: &[u8], most: usize) -> Result<(), Refusal> {
    let mut depth = 0_usize;
    let mut in_string = false;
    let mut escaped = false;
    for (at, byte) in json.iter().enumerate() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => {
                depth += 1;
                if depth > most {
                    return Err(Refusal::Malformed(format!(
                        "expected JSON nested at most {most} deep, found more at byte {at}"
                    )));
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const BUSY: Refusal = Refusal::Busy { what: "bytes", retry_after: std::time::Duration::from_secs(1) };

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    }

    #[test]
    fn brackets_in_strings_are_no_nesting() {
        assert_eq!(check_depth(br#"{"a":"[[[[{{{{","b":"\"[[[["}"#, 1), Ok(()));
        assert_eq!(check_depth(b"[[[]],[[]]]", 3), Ok(()));
        let error = check_depth(b"[[[[", 3).unwrap_err();
        assert!(error.to_string().ends_with("nested at most 3 deep, found more at byte 3"), "{error}");
    }

    #[test]
    fn a_bomb_is_stopped_at_the_limit() {
        let budget = Budget::new(1 << 30);
        let bomb = gzip(&vec![b' '; 64 << 20]);
        assert!(bomb.len() < 100_000);
        let mut held = Held::none_of(&budget);
        let found = gunzip(&bomb, 1 << 20, &mut held, &BUSY);
        assert_eq!(found, Err(Refusal::TooLarge { limit: 1 << 20, unpacked: " unpacked" }));
        assert!(held.bytes <= (1 << 20) + 2 * 64 * 1024, "{}", held.bytes);
        drop(held);
        assert_eq!(budget.free.load(Ordering::Relaxed), 1 << 30);
    }

    #[test]
    fn members_are_unpacked_one_after_the_other_and_rubbish_is_malformed() {
        let budget = Budget::new(1 << 20);
        let mut held = Held::none_of(&budget);
        let two = [gzip(b"{\"a\":"), gzip(b"1}")].concat();
        assert_eq!(gunzip(&two, 100, &mut held, &BUSY).unwrap(), "{\"a\":1}");
        assert!(matches!(gunzip(b"{}", 100, &mut held, &BUSY), Err(Refusal::Malformed(_))));
    }

    #[tokio::test]
    async fn what_is_over_the_budget_is_busy_and_what_is_over_the_limit_too_large() {
        let budget = Budget::new(10);
        let mut held = Held::none_of(&budget);
        assert_eq!(read(&mut Body::from("12345678"), 8, &mut held, &BUSY).await.unwrap(), "12345678");
        assert_eq!(read(&mut Body::from("123"), 8, &mut Held::none_of(&budget), &BUSY).await, Err(BUSY));
        drop(held);
        let found = read(&mut Body::from("123456789"), 8, &mut Held::none_of(&budget), &BUSY).await;
        assert_eq!(found, Err(Refusal::TooLarge { limit: 8, unpacked: "" }));
    }
}
