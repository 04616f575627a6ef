//! What was set of one thing: a topic, a broker, a group, a client metrics subscription.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// A text of a config that requests, records and images share instead of copying it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConfigText(Arc<str>);

impl ConfigText {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Deref for ConfigText {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<T: Into<Arc<str>>> From<T> for ConfigText {
    fn from(text: T) -> Self {
        Self(text.into())
    }
}

impl PartialEq<str> for ConfigText {
    fn eq(&self, other: &str) -> bool {
        *self.0 == *other
    }
}

impl fmt::Debug for ConfigText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl fmt::Display for ConfigText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<C> minicbor::Encode<C> for ConfigText {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.str(&self.0)?.ok()
    }
}

impl<'b, C> minicbor::Decode<'b, C> for ConfigText {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        Ok(d.str()?.into())
    }
}

/// Keys and their values, in the order of the keys. There are few of them, and a cluster may have millions of
/// these: no map pays here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConfigOverrides(Vec<Pair>);

impl ConfigOverrides {
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    fn find(&self, key: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(own, _)| own.as_str().cmp(key))
    }

    pub fn get(&self, key: &str) -> Option<&ConfigText> {
        let (_, value) = self.0.get(self.find(key).ok()?)?;
        Some(value)
    }

    pub fn contains_key(&self, key: &str) -> bool {
        self.find(key).is_ok()
    }

    pub fn insert(&mut self, key: &str, value: ConfigText) {
        match self.find(key) {
            Ok(at) => {
                if let Some((_, own)) = self.0.get_mut(at) {
                    *own = value;
                }
            }
            Err(at) => {
                self.0.reserve_exact(1);
                self.0.insert(at, (key.into(), value));
            }
        }
    }

    pub fn remove(&mut self, key: &str) {
        if let Ok(at) = self.find(key) {
            self.0.remove(at);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn iter(&self) -> Iter<'_> {
        self.0.iter().map(|(key, value)| (key, value))
    }

    pub fn keys(&self) -> impl Iterator<Item = &ConfigText> {
        self.0.iter().map(|(key, _)| key)
    }

    pub fn values(&self) -> impl Iterator<Item = &ConfigText> {
        self.0.iter().map(|(_, value)| value)
    }
}

type Pair = (ConfigText, ConfigText);
type Iter<'a> =
    std::iter::Map<std::slice::Iter<'a, Pair>, fn(&'a Pair) -> (&'a ConfigText, &'a ConfigText)>;

impl<'a> IntoIterator for &'a ConfigOverrides {
    type Item = (&'a ConfigText, &'a ConfigText);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl IntoIterator for ConfigOverrides {
    type Item = Pair;
    type IntoIter = std::vec::IntoIter<Pair>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// A key that comes twice has its last value.
impl<K: AsRef<str>, V: Into<ConfigText>> FromIterator<(K, V)> for ConfigOverrides {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let mut overrides = Self::new();
        for (key, value) in pairs {
            overrides.insert(key.as_ref(), value.into());
        }
        overrides
    }
}

impl<K: AsRef<str>, V: Into<ConfigText>, const N: usize> From<[(K, V); N]> for ConfigOverrides {
    fn from(pairs: [(K, V); N]) -> Self {
        pairs.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overrides_are_a_map_in_the_order_of_its_keys() {
        let mut overrides = ConfigOverrides::from([("b", "1"), ("a", "2"), ("b", "3")]);
        let pairs = |overrides: &ConfigOverrides| {
            let pairs = overrides.iter().map(|(k, v)| format!("{k}={v}"));
            pairs.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(pairs(&overrides), "a=2 b=3");
        overrides.insert("aa", "4".into());
        overrides.insert("a", "5".into());
        assert_eq!(pairs(&overrides), "a=5 aa=4 b=3");
        assert_eq!(overrides.get("aa").map(ConfigText::as_str), Some("4"));
        overrides.remove("a");
        overrides.remove("c");
        assert_eq!(pairs(&overrides), "aa=4 b=3");
        assert!(!overrides.contains_key("a") && overrides.get("a").is_none());
        assert_eq!(overrides.len(), 2);
    }

    #[test]
    fn a_text_is_written_as_any_other() {
        let text = ConfigText::from("delete,compact");
        let bytes = minicbor::to_vec(Some(&text)).unwrap();
        assert_eq!(bytes, minicbor::to_vec("delete,compact").unwrap());
        let read: Option<ConfigText> = minicbor::decode(&bytes).unwrap();
        assert_eq!(read, Some(text));
    }
}
