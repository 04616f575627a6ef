//! JSON as a person writes it: on one line while that fits, else a line for each part.

use serde_json::Value;

const WIDTH: usize = 120;

/// `indent` is where the text begins, and what its first line has before it.
pub fn print(value: &Value, indent: usize) -> String {
    let mut out = String::new();
    write(value, indent, 0, &mut out);
    out
}

fn inline(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let fields: Vec<String> = fields
                .iter()
                .map(|(name, value)| format!("{}: {}", Value::from(name.as_str()), inline(value)))
                .collect();
            format!("{{{}}}", fields.join(", "))
        }
        Value::Array(elements) => {
            let elements: Vec<String> = elements.iter().map(inline).collect();
            format!("[{}]", elements.join(", "))
        }
        plain => plain.to_string(),
    }
}

fn write(value: &Value, used: usize, depth: usize, out: &mut String) {
    let short = inline(value);
    if used + short.len() <= WIDTH {
        out.push_str(&short);
        return;
    }
    let margin = "  ".repeat(depth + 1);
    let mut parts = |parts: Vec<(String, &Value)>, open: char, close: char| {
        out.push(open);
        let count = parts.len();
        for (index, (head, part)) in parts.into_iter().enumerate() {
            out.push('\n');
            out.push_str(&margin);
            out.push_str(&head);
            write(part, margin.len() + head.len() + 1, depth + 1, out);
            if index + 1 < count {
                out.push(',');
            }
        }
        out.push('\n');
        out.push_str(&"  ".repeat(depth));
        out.push(close);
    };
    match value {
        Value::Object(fields) => {
            let named = |(name, value)| (format!("{}: ", Value::from(String::as_str(name))), value);
            parts(fields.iter().map(named).collect(), '{', '}');
        }
        Value::Array(elements) => {
            let plain = elements.iter().map(|element| (String::new(), element));
            parts(plain.collect(), '[', ']');
        }
        _ => out.push_str(&short),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_one_line_and_what_does_not_a_line_for_each_part() {
        let short = serde_json::json!({"a": 1, "b": [true, null, "x\"y"]});
        assert_eq!(print(&short, 2), r#"{"a": 1, "b": [true, null, "x\"y"]}"#);
        let long = serde_json::json!({"a": "x".repeat(100), "b": [1, 2], "c": []});
        let expected = format!(
            "{{\n  \"a\": \"{}\",\n  \"b\": [1, 2],\n  \"c\": []\n}}",
            "x".repeat(100)
        );
        assert_eq!(print(&long, 2), expected);
        assert_eq!(
            serde_json::from_str::<Value>(&print(&long, 2)).ok(),
            Some(long)
        );
    }
}
