use chrono::{DateTime, Utc};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// k8s-openapi speaks jiff, the model chrono. Times outside chrono's years are its nearest.
pub fn to_chrono(time: &Time) -> DateTime<Utc> {
    let seconds = time.0.as_second();
    let nanoseconds = u32::try_from(time.0.subsec_nanosecond()).unwrap_or(0);
    DateTime::from_timestamp(seconds, nanoseconds).unwrap_or(if seconds < 0 {
        DateTime::<Utc>::MIN_UTC
    } else {
        DateTime::<Utc>::MAX_UTC
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_keep_their_instant() {
        let time: Time = serde_json::from_str("\"2026-11-21T03:38:26.123456Z\"").unwrap();
        assert_eq!(to_chrono(&time).to_rfc3339(), "2026-11-21T03:38:26.123456+00:00");
    }
}
