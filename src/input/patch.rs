//! The three things that a patch can say of a member.

/// What a patch says of a member that can be null.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Patch<T> {
    /// Not mentioned: stays as it is.
    #[default]
    Absent,
    /// `null`: is cleared.
    Null,
    /// Becomes this.
    Value(T),
}

impl<T> Patch<T> {
    /// Brings `target` to what the patch says.
    pub fn apply(self, target: &mut Option<T>) {
        match self {
            Self::Absent => {}
            Self::Null => *target = None,
            Self::Value(value) => *target = Some(value),
        }
    }

    /// The member of a new object, where absent means null.
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
        fn absent_changes_nothing(before: Option<u8>) {
            let mut target = before;
            Patch::Absent.apply(&mut target);
            prop_assert_eq!(target, before);
        }

        #[test]
        fn the_last_patch_decides(before: Option<u8>, value: u8) {
            let mut target = before;
            Patch::Null.apply(&mut target);
            prop_assert_eq!(target, None);
            Patch::Value(value).apply(&mut target);
            prop_assert_eq!(target, Some(value));
        }
    }
}
