//! `dohle status`: the ensemble in a table, from any node.

use std::fmt::Write as _;

use serde_json::Value;

use super::{ask, print_text};

pub(super) fn show(http: &str) -> Result<(), String> {
    let shown = fetch(http)?;
    print_text(&text(&shown));
    Ok(())
}

/// What a node says of the ensemble.
pub(super) fn fetch(http: &str) -> Result<Value, String> {
    let answer = ask::get(http, "/ensemble")?;
    if answer.status != 200 {
        return Err(format!("{http}: the node is not part of an ensemble yet"));
    }
    serde_json::from_str(&answer.body).map_err(|error| format!("{http}: {error}"))
}

fn text(shown: &Value) -> String {
    let mut text = String::new();
    let word = |value: &Value| match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "cluster {}  node {} is {}, epoch {}, applied {}, elections {}",
        word(&shown["cluster_id"]),
        word(&shown["node"]),
        word(&shown["role"]),
        word(&shown["epoch"]),
        word(&shown["applied"]),
        word(&shown["elections"]),
    );
    let quorum = &shown["quorum"];
    let Some(members) = quorum["members"].as_array() else {
        let _ = writeln!(
            text,
            "no leader answers{}",
            match &shown["leader"] {
                Value::Null => String::new(),
                leader => format!(" (this node takes node {leader} for it)"),
            }
        );
        return text;
    };
    let _ = writeln!(
        text,
        "leader {}, epoch {}, committed {}",
        word(&quorum["leader"]),
        word(&quorum["epoch"]),
        word(&quorum["committed"])
    );
    let mut rows = vec![
        [
            "node", "role", "durable", "state", "heard", "ensemble", "broker",
        ]
        .map(str::to_owned),
    ];
    for member in members {
        let id = &member["id"];
        let role = match (member["leader"].as_bool(), member["voter"].as_bool()) {
            (Some(true), _) => "leader",
            (_, Some(true)) => "follower",
            _ => "observer",
        };
        let state = match (member["up_to_date"].as_bool(), &member["durable"]) {
            (Some(true), _) => "up to date",
            (_, Value::Null) => "absent",
            _ => "behind",
        };
        let heard = match &member["silent_ms"] {
            Value::Null => "-".to_owned(),
            ms => format!("{ms} ms ago"),
        };
        let brokers = shown["brokers"].as_array();
        let broker = brokers.and_then(|brokers| brokers.iter().find(|b| b["id"] == *id));
        let broker = match broker {
            None => "-".to_owned(),
            Some(broker) if broker["fenced"] == true => "fenced".to_owned(),
            Some(broker) => word(broker["endpoints"].get(0).unwrap_or(&Value::Null)),
        };
        rows.push([
            word(id),
            role.to_owned(),
            word(&member["durable"]),
            state.to_owned(),
            heard,
            word(&member["address"]),
            broker,
        ]);
    }
    text.push_str(&table(&rows));
    text
}

/// Columns as wide as they must be.
pub(super) fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..N).map(width).collect();
    rows.iter()
        .map(|row| {
            let cells = row.iter().zip(&widths);
            let line: String = cells
                .map(|(cell, width)| format!("{cell:width$}  "))
                .collect();
            format!("{}\n", line.trim_end())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_table_shows_every_member() {
        let shown = json!({
            "node": 2, "cluster_id": "c", "role": "follower", "epoch": 3, "applied": "3.7", "elections": 1, "leader": 1,
            "brokers": [{"id": 1, "fenced": false, "endpoints": ["PLAINTEXT://localhost:9092"]}, {"id": 2, "fenced": true}],
            "quorum": {"leader": 1, "epoch": 3, "committed": "3.8", "members": [
                {"id": 1, "voter": true, "leader": true, "address": "a:1", "durable": "3.8", "up_to_date": true, "silent_ms": 0},
                {"id": 2, "voter": true, "leader": false, "address": "b:1", "durable": "3.7", "up_to_date": false, "silent_ms": 12},
                {"id": 9, "voter": false, "leader": false, "address": ":0", "durable": null, "up_to_date": false, "silent_ms": null},
            ]},
        });
        let expected = "\
cluster c  node 2 is follower, epoch 3, applied 3.7, elections 1
leader 1, epoch 3, committed 3.8
node  role      durable  state       heard      ensemble  broker
1     leader    3.8      up to date  0 ms ago   a:1       PLAINTEXT://localhost:9092
2     follower  3.7      behind      12 ms ago  b:1       fenced
9     observer  -        absent      -          :0        -
";
        assert_eq!(text(&shown), expected);
        let mut alone = shown;
        alone["quorum"] = Value::Null;
        assert!(text(&alone).ends_with("no leader answers (this node takes node 1 for it)\n"));
        alone["leader"] = Value::Null;
        assert!(text(&alone).ends_with("no leader answers\n"));
    }
}
