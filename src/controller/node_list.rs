//! A list of nodes: replicas, in-sync replicas and the like. Three fit without an allocation, for
//! most of the memory of 100,000 partitions would otherwise be lists of one.

use std::fmt;
use std::ops::Deref;

use minicbor::decode::{Decoder, Error as DecodeError};
use minicbor::encode::{Encoder, Error as EncodeError, Write};

use crate::types::NodeId;

const INLINE: usize = 3;

/// Immutable; derefs to a slice.
#[derive(Clone)]
pub struct NodeList(Storage);

#[derive(Clone)]
enum Storage {
    Inline {
        len: u8,
        nodes: [NodeId; INLINE],
    },
    // Boxed twice to stay at 16 bytes in all.
    #[expect(
        clippy::box_collection,
        reason = "a thin pointer keeps the list at 16 bytes"
    )]
    Heap(Box<Vec<NodeId>>),
}

impl NodeList {
    pub const EMPTY: NodeList = NodeList(Storage::Inline {
        len: 0,
        nodes: [NodeId::NONE; INLINE],
    });
}

impl Deref for NodeList {
    type Target = [NodeId];

    fn deref(&self) -> &[NodeId] {
        match &self.0 {
            Storage::Inline { len, nodes } => nodes.get(..usize::from(*len)).unwrap_or(nodes),
            Storage::Heap(nodes) => nodes,
        }
    }
}

impl From<&[NodeId]> for NodeList {
    fn from(list: &[NodeId]) -> Self {
        if list.len() > INLINE {
            return NodeList(Storage::Heap(Box::new(list.to_vec())));
        }
        let mut nodes = [NodeId::NONE; INLINE];
        for (slot, node) in nodes.iter_mut().zip(list) {
            *slot = *node;
        }
        NodeList(Storage::Inline {
            len: list.len() as u8,
            nodes,
        })
    }
}

impl<const N: usize> From<[i32; N]> for NodeList {
    fn from(list: [i32; N]) -> Self {
        list.into_iter().map(NodeId).collect()
    }
}

impl FromIterator<NodeId> for NodeList {
    fn from_iter<I: IntoIterator<Item = NodeId>>(nodes: I) -> Self {
        let nodes: Vec<NodeId> = nodes.into_iter().collect();
        Self::from(nodes.as_slice())
    }
}

impl PartialEq for NodeList {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for NodeList {}

impl fmt::Debug for NodeList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.iter().map(|node| node.0))
            .finish()
    }
}

impl<C> minicbor::Encode<C> for NodeList {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), EncodeError<W::Error>> {
        e.array(self.len() as u64)?;
        for node in self.iter() {
            e.i32(node.0)?;
        }
        Ok(())
    }
}

impl<'b, C> minicbor::Decode<'b, C> for NodeList {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, DecodeError> {
        let mut nodes = Vec::new();
        for node in d.array_iter::<i32>()? {
            nodes.push(NodeId(node?));
        }
        Ok(Self::from(nodes.as_slice()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long_lists_are_alike() {
        assert_eq!(size_of::<NodeList>(), 16);
        for len in 0..6 {
            let nodes: Vec<NodeId> = (0..len).map(NodeId).collect();
            let list = NodeList::from(nodes.as_slice());
            assert_eq!(&*list, nodes.as_slice());
            let bytes = minicbor::to_vec(&list).unwrap();
            assert_eq!(minicbor::decode::<NodeList>(&bytes).unwrap(), list);
        }
        assert_ne!(NodeList::from([1, 2]), NodeList::from([2, 1]));
        assert_eq!(NodeList::EMPTY, NodeList::from([]));
    }
}
