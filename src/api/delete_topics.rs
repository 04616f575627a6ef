//! DeleteTopics (20), versions 1–6: topics by name, from v6 also by id.
//!
//! v3 TOPIC_DELETION_DISABLED; v5 error messages (KIP-599); v6 topic ids (KIP-516). As Apache Kafka
//! 4.4.0: a topic that may not be described is not admitted to exist, and nothing that is named
//! twice is deleted. The order of a reply is the order of the request.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::RequestContext;
use super::submit::{message, submit, unexpected};
use crate::controller::command::{ApiError, Command, Reply};
use crate::controller::image::MetadataImage;
use crate::error::ErrorCode;
use crate::security::authorizer::CLUSTER;
use crate::security::{Operation, ResourceType};
use crate::types::TopicId;

/// A topic as a request names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Named {
    Name(String),
    Id(TopicId),
    Both(String, TopicId),
    Neither,
}

/// What is said of one topic: its name and id as far as they may be told, and the outcome. A topic
/// that is still to be deleted has no error yet.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Verdict {
    name: Option<String>,
    id: TopicId,
    outcome: Result<(), ApiError>,
}

pub(super) async fn handle(
    ctx: RequestContext,
    request: DeleteTopicsRequest,
) -> DeleteTopicsResponse {
    let asked = asked(&request);
    let verdicts = if ctx.node.config().delete_topic_enable {
        let may_delete_all = ctx.authorize(Operation::Delete, ResourceType::Cluster, CLUSTER);
        let allows = |operation, name: &str| {
            may_delete_all || ctx.authorize(operation, ResourceType::Topic, name)
        };
        let is_there = |image: &MetadataImage, named: &Named| match named {
            Named::Name(name) => image.topic(name).is_some(),
            Named::Id(id) => image.topic_by_id(*id).is_some(),
            Named::Both(..) | Named::Neither => true,
        };
        let has_all = |image: &MetadataImage| asked.iter().all(|named| is_there(image, named));
        let within = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
        match ctx.node.current_metadata_with(has_all, within).await {
            Some(image) => {
                let verdicts = judge(&image, asked, allows);
                delete(&ctx, verdicts, request.timeout_ms).await
            }
            // Whether they exist is not known here.
            None => asked.into_iter().map(timed_out).collect(),
        }
    } else {
        refuse_all(ctx.version, asked)
    };
    let responses = verdicts.into_iter().map(|verdict| {
        let result = DeletableTopicResult::default()
            .with_name(
                verdict
                    .name
                    .map(|name| TopicName(StrBytes::from_string(name))),
            )
            .with_topic_id(verdict.id.0);
        match verdict.outcome {
            Ok(()) => result,
            Err(error) => result
                .with_error_code(error.error.code())
                .with_error_message(message(error)),
        }
    });
    DeleteTopicsResponse::default().with_responses(responses.collect())
}

fn asked(request: &DeleteTopicsRequest) -> Vec<Named> {
    let by_name = request
        .topic_names
        .iter()
        .map(|name| Named::Name(name.to_string()));
    let by_either = request.topics.iter().map(|topic| {
        let id = TopicId(topic.topic_id);
        match &topic.name {
            None if id.is_zero() => Named::Neither,
            None => Named::Id(id),
            Some(name) if id.is_zero() => Named::Name(name.to_string()),
            Some(name) => Named::Both(name.to_string(), id),
        }
    });
    by_name.chain(by_either).collect()
}

fn refuse_all(version: i16, asked: Vec<Named>) -> Vec<Verdict> {
    let error = if version < 3 {
        ApiError::new(
            ErrorCode::InvalidRequest,
            "This version does not support topic deletion.",
        )
    } else {
        ErrorCode::TopicDeletionDisabled.into()
    };
    let verdicts = asked.into_iter().map(|named| {
        let (name, id) = named.parts();
        Verdict {
            name,
            id,
            outcome: Err(error.clone()),
        }
    });
    verdicts.collect()
}

impl Named {
    fn parts(self) -> (Option<String>, TopicId) {
        match self {
            Named::Name(name) => (Some(name), TopicId::ZERO),
            Named::Id(id) => (None, id),
            Named::Both(name, id) => (Some(name), id),
            Named::Neither => (None, TopicId::ZERO),
        }
    }
}

/// What can be said without the controller.
fn judge(
    image: &MetadataImage,
    asked: Vec<Named>,
    allows: impl Fn(Operation, &str) -> bool,
) -> Vec<Verdict> {
    let mut counts: BTreeMap<Named, usize> = BTreeMap::new();
    for named in &asked {
        *counts.entry(named.clone()).or_default() += 1;
    }
    // An id that is asked for by itself, or by the name of its topic.
    let mut ids: BTreeMap<TopicId, usize> = BTreeMap::new();
    let distinct = counts.keys().filter_map(|named| match named {
        Named::Id(id) => Some(*id),
        Named::Name(name) => image.topic_id(name),
        Named::Both(..) | Named::Neither => None,
    });
    for id in distinct {
        *ids.entry(id).or_default() += 1;
    }
    let mut answered = BTreeSet::new();
    let mut refused = BTreeSet::new();
    let mut verdicts = Vec::new();
    for named in asked {
        let is_duplicate = counts.get(&named).is_some_and(|count| *count > 1);
        let unique = matches!(named, Named::Name(_) | Named::Id(_));
        if is_duplicate && unique && !answered.insert(named.clone()) {
            continue;
        }
        verdicts.push(match named {
            Named::Neither => invalid(named, "Neither topic name nor id were specified."),
            Named::Both(..) => invalid(named, "You may not specify both topic name and topic id."),
            Named::Name(_) if is_duplicate => invalid(named, "Duplicate topic name."),
            Named::Id(_) if is_duplicate => invalid(named, "Duplicate topic id."),
            Named::Name(name) => judge_name(image, name, &ids, &allows),
            Named::Id(id) => judge_id(image, id, &ids, &allows),
        });
        // A topic that is asked for in two ways is refused once.
        let last = verdicts.last().filter(|last| last.outcome.is_err());
        let id = last.map_or(TopicId::ZERO, |last| last.id);
        if ids.get(&id).is_some_and(|count| *count > 1) && !refused.insert(id) {
            verdicts.pop();
        }
    }
    verdicts
}

fn timed_out(named: Named) -> Verdict {
    let (name, id) = named.parts();
    Verdict {
        name,
        id,
        outcome: Err(ErrorCode::RequestTimedOut.into()),
    }
}

fn invalid(named: Named, why: &str) -> Verdict {
    let (name, id) = named.parts();
    Verdict {
        name,
        id,
        outcome: Err(ApiError::new(ErrorCode::InvalidRequest, why)),
    }
}

fn judge_name(
    image: &MetadataImage,
    name: String,
    ids: &BTreeMap<TopicId, usize>,
    allows: &impl Fn(Operation, &str) -> bool,
) -> Verdict {
    let refused = |name, error| Verdict {
        name: Some(name),
        id: TopicId::ZERO,
        outcome: Err(error),
    };
    if !allows(Operation::Describe, &name) {
        return refused(name, not_authorized());
    }
    let Some(id) = image.topic_id(&name) else {
        let unknown = ApiError::new(
            ErrorCode::UnknownTopicOrPartition,
            "This server does not host this topic-partition.",
        );
        return refused(name, unknown);
    };
    if !allows(Operation::Delete, &name) {
        return refused(name, not_authorized());
    }
    let outcome = match ids.get(&id) {
        Some(2..) => Err(ApiError::new(
            ErrorCode::InvalidRequest,
            "The provided topic name maps to an ID that was already supplied.",
        )),
        _ => Ok(()),
    };
    Verdict {
        name: Some(name),
        id,
        outcome,
    }
}

fn judge_id(
    image: &MetadataImage,
    id: TopicId,
    ids: &BTreeMap<TopicId, usize>,
    allows: &impl Fn(Operation, &str) -> bool,
) -> Verdict {
    let verdict = |name: Option<&str>, outcome| Verdict {
        name: name.map(str::to_owned),
        id,
        outcome,
    };
    let Some(topic) = image.topic_by_id(id) else {
        return verdict(None, Err(unknown_id()));
    };
    let name = topic.name.as_ref();
    if !allows(Operation::Delete, name) {
        let told = allows(Operation::Describe, name).then_some(name);
        return verdict(told, Err(not_authorized()));
    }
    match ids.get(&id) {
        Some(2..) => verdict(
            Some(name),
            Err(ApiError::new(
                ErrorCode::InvalidRequest,
                "The provided topic name maps to an ID that was already supplied.",
            )),
        ),
        _ => verdict(Some(name), Ok(())),
    }
}

fn not_authorized() -> ApiError {
    ApiError::new(
        ErrorCode::TopicAuthorizationFailed,
        "Topic authorization failed.",
    )
}

fn unknown_id() -> ApiError {
    ApiError::new(
        ErrorCode::UnknownTopicId,
        "This server does not host this topic ID.",
    )
}

/// Deletes what has no error; the controller has the last word.
async fn delete(ctx: &RequestContext, mut verdicts: Vec<Verdict>, timeout_ms: i32) -> Vec<Verdict> {
    let ids: Vec<TopicId> = verdicts
        .iter()
        .filter(|verdict| verdict.outcome.is_ok())
        .map(|verdict| verdict.id)
        .collect();
    if ids.is_empty() {
        return verdicts;
    }
    let count = ids.len();
    let deleted = match submit(ctx, Command::DeleteTopics(ids), Some(timeout_ms)).await {
        Ok(Reply::DeleteTopics(results)) => results,
        Ok(_) => vec![Err(unexpected()); count],
        Err(error) => vec![Err(error); count],
    };
    let to_delete = verdicts
        .iter_mut()
        .filter(|verdict| verdict.outcome.is_ok());
    for (verdict, outcome) in to_delete.zip(deleted) {
        verdict.outcome = outcome;
    }
    verdicts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::testing::{cluster_of, make, topic};

    fn name(name: &str) -> Named {
        Named::Name(name.to_owned())
    }

    fn told(verdicts: &[Verdict]) -> Vec<String> {
        let told = verdicts.iter().map(|verdict| {
            let name = verdict.name.as_deref().unwrap_or("-");
            match &verdict.outcome {
                Ok(()) => format!("{name} deleted"),
                Err(error) => format!("{name} {error}"),
            }
        });
        told.collect()
    }

    #[test]
    fn each_topic_is_judged_by_itself() {
        let mut image = cluster_of(&[(1, None)]);
        let made = make(
            &mut image,
            ["a", "b", "c", "hidden", "shown"]
                .map(|name| topic(name, 1, 1))
                .to_vec(),
        );
        let id = |at: usize| made[at].id;
        let unknown = TopicId(uuid::Uuid::from_u128(1));
        let allows = |operation, name: &str| match name {
            "hidden" => false,
            "shown" => operation == Operation::Describe,
            _ => true,
        };
        let asked = vec![
            name("a"),
            Named::Id(id(1)),
            name("c"),
            Named::Id(id(2)),
            name("none"),
            name("none2"),
            name("none2"),
            Named::Id(unknown),
            Named::Neither,
            Named::Both("a".into(), id(0)),
            name("hidden"),
            name("shown"),
            Named::Id(id(3)),
            Named::Id(id(4)),
        ];
        let twice =
            "INVALID_REQUEST: The provided topic name maps to an ID that was already supplied.";
        let denied = "TOPIC_AUTHORIZATION_FAILED: Topic authorization failed.";
        assert_eq!(
            told(&judge(&image, asked, allows)),
            [
                "a deleted".to_owned(),
                "b deleted".to_owned(),
                format!("c {twice}"),
                "none UNKNOWN_TOPIC_OR_PARTITION: This server does not host this topic-partition."
                    .to_owned(),
                "none2 INVALID_REQUEST: Duplicate topic name.".to_owned(),
                "- UNKNOWN_TOPIC_ID: This server does not host this topic ID.".to_owned(),
                "- INVALID_REQUEST: Neither topic name nor id were specified.".to_owned(),
                "a INVALID_REQUEST: You may not specify both topic name and topic id.".to_owned(),
                format!("hidden {denied}"),
                format!("shown {denied}"),
                format!("- {denied}"),
                format!("shown {denied}"),
            ]
        );
    }

    #[test]
    fn deletion_that_is_switched_off_is_refused_in_two_ways() {
        let refused = |version| told(&refuse_all(version, vec![name("a")]));
        assert_eq!(
            refused(2),
            ["a INVALID_REQUEST: This version does not support topic deletion."]
        );
        assert_eq!(refused(3), ["a TOPIC_DELETION_DISABLED"]);
    }
}
