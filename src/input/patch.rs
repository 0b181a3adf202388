//! The three states of a nullable member in a patch.

/// A member of a patch that can be null.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Patch<T> {
    /// The member is absent: its value does not change.
    #[default]
    Absent,
    /// The member is `null`: its value is cleared.
    Null,
    /// The new value.
    Value(T),
}

impl<T> Patch<T> {
    /// Changes `target` to the value in the patch.
    pub fn apply(self, target: &mut Option<T>) {
        match self {
            Self::Absent => {}
            Self::Null => *target = None,
            Self::Value(value) => *target = Some(value),
        }
    }

    /// Returns the value for a new object, in which an absent member is null.
    pub fn value(self) -> Option<T> {
        match self {
            Self::Absent | Self::Null => None,
            Self::Value(value) => Some(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_absent_member_changes_nothing(before: Option<u8>) {
            let mut target = before;
            Patch::Absent.apply(&mut target);
            prop_assert_eq!(target, before);
        }

        #[test]
        fn null_clears_and_a_value_replaces(before: Option<u8>, value: u8) {
            let mut target = before;
            Patch::Null.apply(&mut target);
            prop_assert_eq!(target, None);
            Patch::Value(value).apply(&mut target);
            prop_assert_eq!(target, Some(value));
        }
    }
}
