//! The `Date` of HTTP responses, by the clock that was handed in.
//!
//! Left alone, the HTTP library asks the machine's clock for it, and a simulated run would not be the same twice.

use crate::clock::Clock;
use http::header::{DATE, HeaderValue};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Returns the response with the time of a clock.
pub(crate) fn dated<B>(mut response: http::Response<B>, clock: &dyn Clock) -> http::Response<B> {
    let now: SystemTime = UNIX_EPOCH + Duration::from_micros(clock.now().0);
    if let Ok(date) = HeaderValue::try_from(httpdate::fmt_http_date(now)) {
        response.headers_mut().insert(DATE, date);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;

    struct Stopped;

    impl Clock for Stopped {
        fn now(&self) -> Timestamp {
            Timestamp(784_111_777_000_000)
        }
    }

    #[test]
    fn responses_tell_the_time_of_the_given_clock() {
        let response = dated(http::Response::new(()), &Stopped);
        assert_eq!(response.headers()[DATE], "Sun, 06 Nov 1994 08:49:37 GMT");
    }
}
