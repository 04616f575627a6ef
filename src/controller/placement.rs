//! Which brokers hold a new partition.
//!
//! Greedy over the loads the image counts: each choice takes the broker that is worst off, first
//! within the topic (so that one topic's work is spread), then in the whole cluster (so that many
//! topics of one partition are spread too). Replicas of a partition go to racks it does not use
//! yet. Ties are broken by a hash of the topic's id, which spreads the pairings. The same image and
//! seed place the same way; nothing is remembered between calls. Brokers that are not active are
//! taken for followers only, and only when there are not enough others (as Kafka's placer does); those whose log
//! directories are all cordoned are not taken.

use crate::controller::image::MetadataImage;
use crate::controller::node_list::NodeList;
use crate::controller::topic_image::TopicImage;
use crate::types::NodeId;

/// Why replicas cannot be placed; the text is Kafka's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlacementError {
    #[error("Invalid replication factor {0}: the replication factor must be positive.")]
    NotPositive(i32),
    #[error("All brokers are currently fenced, or have all their log directories cordoned.")]
    NoBroker,
    #[error(
        "The target replication factor of {wanted} cannot be reached because only {registered} broker(s) are registered or some brokers have all their log directories cordoned."
    )]
    TooFewBrokers { wanted: i32, registered: usize },
}

struct Candidate<'a> {
    id: NodeId,
    rack: Option<&'a str>,
    passive: bool,
    topic_leaders: u32,
    topic_replicas: u32,
    leaders: u32,
    replicas: u32,
    taken: bool,
}

/// Replicas of `count` further partitions, the preferred leader first. `existing` is the topic when
/// it has partitions already.
pub fn place(
    image: &MetadataImage,
    existing: Option<&TopicImage>,
    count: usize,
    replication_factor: i32,
    seed: u128,
) -> Result<Vec<NodeList>, PlacementError> {
    let mut candidates = candidates(image, existing);
    let wanted = usize::try_from(replication_factor)
        .ok()
        .filter(|wanted| *wanted > 0)
        .ok_or(PlacementError::NotPositive(replication_factor))?;
    let mut usable = image
        .brokers()
        .filter(|broker| broker.has_uncordoned_dirs());
    if usable.all(|broker| broker.fenced) {
        return Err(PlacementError::NoBroker);
    }
    if wanted > candidates.len() {
        return Err(PlacementError::TooFewBrokers {
            wanted: replication_factor,
            registered: candidates.len(),
        });
    }
    let first = existing.map_or(0, TopicImage::partition_count);
    let placed = (first..first + count).map(|partition| {
        let seed = mix(seed as u64 ^ (seed >> 64) as u64 ^ mix(partition as u64));
        place_one(&mut candidates, wanted, seed)
    });
    Ok(placed.collect())
}

fn candidates<'a>(image: &'a MetadataImage, existing: Option<&TopicImage>) -> Vec<Candidate<'a>> {
    let mut candidates: Vec<Candidate<'_>> = image
        .brokers()
        .filter(|broker| broker.has_uncordoned_dirs())
        .map(|broker| {
            let load = image.load(broker.id);
            Candidate {
                id: broker.id,
                rack: broker.rack.as_deref(),
                passive: !broker.is_active(),
                topic_leaders: 0,
                topic_replicas: 0,
                leaders: load.preferred_leaders,
                replicas: load.replicas,
                taken: false,
            }
        })
        .collect();
    for (_, partition) in existing.into_iter().flat_map(TopicImage::partitions) {
        for (position, node) in partition.replicas.iter().enumerate() {
            // Brokers come in the order of their ids.
            let found = candidates.binary_search_by_key(node, |candidate| candidate.id);
            if let Some(candidate) = found.ok().and_then(|at| candidates.get_mut(at)) {
                candidate.topic_replicas += 1;
                candidate.topic_leaders += u32::from(position == 0);
            }
        }
    }
    candidates
}

fn place_one(candidates: &mut [Candidate<'_>], wanted: usize, seed: u64) -> NodeList {
    let mut chosen: Vec<NodeId> = Vec::with_capacity(wanted);
    let mut racks: Vec<Option<&str>> = Vec::with_capacity(wanted);
    for position in 0..wanted {
        let worst_off = candidates
            .iter_mut()
            .filter(|candidate| !candidate.taken)
            .min_by_key(|candidate| {
                let tie = mix(seed ^ candidate.id.0 as u64);
                // Leaders are evened out first: they do the work. Within a topic, then overall.
                let leaders = (candidate.topic_leaders, candidate.leaders);
                let replicas = (candidate.topic_replicas, candidate.replicas);
                if position == 0 {
                    (
                        usize::from(candidate.passive),
                        false,
                        leaders,
                        (candidate.replicas, candidate.topic_replicas),
                        tie,
                    )
                } else {
                    let same_rack = racks.iter().filter(|rack| **rack == candidate.rack);
                    (same_rack.count(), candidate.passive, replicas, (0, 0), tie)
                }
            });
        let Some(candidate) = worst_off else { break };
        candidate.taken = true;
        candidate.topic_replicas += 1;
        candidate.replicas += 1;
        if position == 0 {
            candidate.topic_leaders += 1;
            candidate.leaders += 1;
        }
        racks.push(candidate.rack);
        chosen.push(candidate.id);
    }
    for candidate in candidates {
        candidate.taken = false;
    }
    NodeList::from(chosen.as_slice())
}

/// SplitMix64's finisher: neighbouring inputs give unrelated outputs.
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests;
