//! From protobuf messages to structs that serialise: same fields, same names, enums as words, times as RFC 3339.

use jiff::Timestamp;
use serde::Serialize;

/// Turns a protobuf value into its serialisable form.
pub(crate) trait Mirror<T> {
    fn mirror(value: T) -> Self;
}

macro_rules! same {
    ($($type:ty),*) => {
        $(impl Mirror<$type> for $type {
            fn mirror(value: $type) -> Self {
                value
            }
        })*
    };
}

same!(String, u32, u64, f64, bool);

impl<A: Mirror<B>, B> Mirror<Vec<B>> for Vec<A> {
    fn mirror(values: Vec<B>) -> Self {
        values.into_iter().map(A::mirror).collect()
    }
}

impl<A: Mirror<B>, B> Mirror<Option<B>> for Option<A> {
    fn mirror(value: Option<B>) -> Self {
        value.map(A::mirror)
    }
}

/// A moment as text, to the millisecond.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(crate) struct Time(pub(crate) String);

impl Mirror<prost_types::Timestamp> for Time {
    fn mirror(value: prost_types::Timestamp) -> Self {
        // A node's clock may say anything; a moment outside the calendar is shown as its number.
        Self(match Timestamp::new(value.seconds, value.nanos) {
            Ok(time) => format!("{time:.3}"),
            Err(_) => format!("{} s since 1970", value.seconds),
        })
    }
}

/// Declares a struct that mirrors a protobuf message, field by field.
macro_rules! mirror {
    ($(#[$doc:meta])* $name:ident = $message:ty { $($field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, serde::Serialize)]
        #[serde(rename_all = "camelCase")]
        pub(crate) struct $name {
            $(pub(crate) $field: $type,)*
        }

        impl $crate::view::Mirror<$message> for $name {
            fn mirror(value: $message) -> Self {
                Self { $($field: $crate::view::Mirror::mirror(value.$field),)* }
            }
        }
    };
}

/// Declares the word form of a protobuf enum: `PHASE_STATE_DONE` is `done`.
macro_rules! word {
    ($(#[$doc:meta])* $name:ident = $message:ty, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
        #[serde(transparent)]
        pub(crate) struct $name(pub(crate) String);

        impl $crate::view::Mirror<i32> for $name {
            fn mirror(value: i32) -> Self {
                // A newer node may know values that this program does not.
                Self(match <$message>::try_from(value) {
                    Ok(value) => value.as_str_name().trim_start_matches($prefix).to_ascii_lowercase(),
                    Err(_) => format!("unknown-{value}"),
                })
            }
        }
    };
}

pub(crate) use mirror;
pub(crate) use word;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339_and_never_fail() {
        let time = |seconds, nanos| Time::mirror(prost_types::Timestamp { seconds, nanos }).0;
        assert_eq!(time(1_700_000_000, 5_000_000), "2023-11-14T22:13:20.005Z");
        assert_eq!(time(0, 0), "1970-01-01T00:00:00.000Z");
        assert_eq!(time(i64::MAX, 0), format!("{} s since 1970", i64::MAX));
    }
}
