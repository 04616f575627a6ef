//! Which of two connections between the same two servers stays. Pure.
//!
//! Both dial, so that whoever was away is back at once, and their connections may cross. The server with the higher
//! id decides for both, when it knows who the other is; so no two links are up at a time on either side, and
//! both mean the same one by its number. What the one below reports, the link that ended there last, tells a
//! connection that crossed (the one there is stays) from one that replaces a link of which only one side
//! knows that it is dead.

use uuid::Uuid;

use super::handshake::LinkId;
use crate::types::NodeId;

/// The link that is up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    pub link: LinkId,
    /// Of the other server.
    pub incarnation: Uuid,
}

/// What the other server says of itself when it wants a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Newcomer {
    pub incarnation: Uuid,
    pub ended: LinkId,
}

pub fn decides(own: NodeId, other: NodeId) -> bool {
    own > other
}

/// Whether the newcomer's connection takes the place of the one there is.
pub fn replaces(standing: Option<Standing>, newcomer: Newcomer) -> bool {
    standing.is_none_or(|standing| {
        standing.incarnation != newcomer.incarnation || standing.link == newcomer.ended
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_that_is_dead_on_the_other_side_is_replaced_and_one_that_crossed_is_not() {
        let newcomer = |incarnation, ended| Newcomer {
            incarnation: Uuid::from_u128(incarnation),
            ended: LinkId(ended),
        };
        let standing = Some(Standing {
            link: LinkId(7),
            incarnation: Uuid::from_u128(1),
        });
        assert!(replaces(None, newcomer(1, 0)));
        assert!(!replaces(standing, newcomer(1, 0)), "crossed");
        assert!(
            !replaces(standing, newcomer(1, 6)),
            "crossed, the second time"
        );
        assert!(replaces(standing, newcomer(1, 7)), "half open");
        assert!(replaces(standing, newcomer(2, 0)), "restarted");
        assert!(decides(NodeId(2), NodeId(1)) && !decides(NodeId(1), NodeId(2)));
    }
}
