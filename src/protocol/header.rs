//! The head of a request: which API in which version, the number its answer bears, who asks.

use bytes::Bytes;
use kafka_protocol::protocol::StrBytes;

use crate::protocol::schema;
use crate::protocol::varint;

pub const API_VERSIONS: i16 = 18;

/// Read from the first bytes of every frame.
///
/// `client_id` points into the frame: what keeps it longer than the request copies it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHeader {
    pub api_key: i16,
    pub api_version: i16,
    pub correlation_id: i32,
    pub client_id: Option<StrBytes>,
}

/// Why a frame has no readable head.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    #[error("a request of {0} bytes is too short for a header")]
    TooShort(usize),
    /// The fixed fields could be read, and say what was asked for.
    #[error("unknown API key {api_key} (version {api_version}, correlation id {correlation_id})")]
    UnknownApi {
        api_key: i16,
        api_version: i16,
        correlation_id: i32,
    },
    #[error(
        "header of API key {api_key} version {api_version}, correlation id {correlation_id}: {reason}"
    )]
    Malformed {
        api_key: i16,
        api_version: i16,
        correlation_id: i32,
        reason: &'static str,
    },
}

impl RequestHeader {
    /// Splits a frame (what follows the length) into its head and its body.
    ///
    /// The version need not be one we know: the head's own form is decided by whether the version is
    /// flexible, and versions beyond ours are.
    pub fn parse(mut frame: Bytes) -> Result<(RequestHeader, Bytes), HeaderError> {
        let Some(fixed) = frame.first_chunk::<8>() else {
            return Err(HeaderError::TooShort(frame.len()));
        };
        let [k0, k1, v0, v1, c0, c1, c2, c3] = *fixed;
        let api_key = i16::from_be_bytes([k0, k1]);
        let api_version = i16::from_be_bytes([v0, v1]);
        let correlation_id = i32::from_be_bytes([c0, c1, c2, c3]);
        let Some(api) = schema::api(api_key) else {
            return Err(HeaderError::UnknownApi {
                api_key,
                api_version,
                correlation_id,
            });
        };
        let malformed = |reason| HeaderError::Malformed {
            api_key,
            api_version,
            correlation_id,
            reason,
        };
        bytes::Buf::advance(&mut frame, 8);
        let client_id = client_id(&mut frame).map_err(malformed)?;
        if api.request_header_version(api_version) >= 2 {
            let size = tagged_fields_bytes(&frame).map_err(malformed)?;
            bytes::Buf::advance(&mut frame, size);
        }
        let header = RequestHeader {
            api_key,
            api_version,
            correlation_id,
            client_id,
        };
        Ok((header, frame))
    }

    /// An ApiVersions request in a version we do not know. Its body is not to be read: it is answered in
    /// version 0 with UNSUPPORTED_VERSION and the list, and the client asks again.
    pub fn is_unknown_api_versions(&self) -> bool {
        self.api_key == API_VERSIONS
            && schema::api(API_VERSIONS)
                .is_some_and(|api| !api.request.versions.contains(self.api_version))
    }
}

/// A string of the old form in every header version, so that any broker can read any client's first request.
fn client_id(frame: &mut Bytes) -> Result<Option<StrBytes>, &'static str> {
    let Some(length) = frame.first_chunk::<2>() else {
        return Err("the client id is missing");
    };
    let length = i16::from_be_bytes(*length);
    bytes::Buf::advance(frame, 2);
    let Ok(length) = usize::try_from(length) else {
        // Kafka takes any negative length for null.
        return Ok(None);
    };
    if length > frame.len() {
        return Err("the client id is longer than the request");
    }
    let bytes = frame.split_to(length);
    // As Kafka: it is only a name to tell clients by.
    let lossy = |bytes: &Bytes| StrBytes::from_string(String::from_utf8_lossy(bytes).into_owned());
    Ok(Some(
        StrBytes::from_utf8(bytes.clone()).unwrap_or_else(|_| lossy(&bytes)),
    ))
}

/// How long the header's tagged fields are. None is known, so each is skipped.
fn tagged_fields_bytes(frame: &[u8]) -> Result<usize, &'static str> {
    let mut at = 0;
    let mut varint = |skip: u32| -> Result<u32, &'static str> {
        at += skip as usize;
        let rest = frame.get(at..).ok_or("a tagged field ends early")?;
        let (value, size) = varint::read_u32(rest).ok_or("a tagged field ends early")?;
        at += size;
        Ok(value)
    };
    let mut skip = 0;
    for _ in 0..varint(0)? {
        varint(skip)?;
        skip = varint(0)?;
    }
    let end = at + skip as usize;
    if end > frame.len() {
        return Err("a tagged field ends early");
    }
    Ok(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(key: i16, version: i16, rest: &[u8]) -> Bytes {
        let mut out = Vec::new();
        out.extend_from_slice(&key.to_be_bytes());
        out.extend_from_slice(&version.to_be_bytes());
        out.extend_from_slice(&77i32.to_be_bytes());
        out.extend_from_slice(rest);
        out.into()
    }

    #[test]
    fn both_forms_of_the_header() {
        // Metadata 8 is rigid, 9 flexible.
        let (header, body) = RequestHeader::parse(frame(3, 8, b"\0\x03abcBODY")).unwrap();
        assert_eq!(
            (header.api_key, header.api_version, header.correlation_id),
            (3, 8, 77)
        );
        assert_eq!(header.client_id.as_deref(), Some("abc"));
        assert_eq!(body, "BODY");
        let (header, body) = RequestHeader::parse(frame(3, 9, b"\xff\xff\0BODY")).unwrap();
        assert_eq!(header.client_id, None);
        assert_eq!(body, "BODY");
        // Two unknown tagged fields of 2 and 0 bytes.
        let (_, body) =
            RequestHeader::parse(frame(3, 9, b"\0\0\x02\x00\x02xx\x09\x00BODY")).unwrap();
        assert_eq!(body, "BODY");
    }

    #[test]
    fn what_is_wrong_is_said() {
        let cases: &[(Bytes, &str)] = &[
            (
                Bytes::from_static(b"\0\x03\0"),
                "a request of 3 bytes is too short for a header",
            ),
            (
                frame(999, 4, b""),
                "unknown API key 999 (version 4, correlation id 77)",
            ),
            (
                frame(4, 0, b""),
                "unknown API key 4 (version 0, correlation id 77)",
            ),
            (frame(3, 8, b"\0"), "the client id is missing"),
            (
                frame(3, 8, b"\x7f\xffa"),
                "the client id is longer than the request",
            ),
            (frame(3, 9, b"\0\0"), "a tagged field ends early"),
            (
                frame(3, 9, b"\0\0\x01\x00\x05xx"),
                "a tagged field ends early",
            ),
            (
                frame(3, 9, b"\0\0\xff\xff\xff\xff\xff"),
                "a tagged field ends early",
            ),
        ];
        for (frame, text) in cases {
            let error = RequestHeader::parse(frame.clone()).unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        }
    }

    #[test]
    fn a_client_id_that_is_not_utf8_is_read_as_far_as_it_can_be() {
        let (header, _) = RequestHeader::parse(frame(3, 8, b"\0\x03a\xfeb")).unwrap();
        assert_eq!(header.client_id.as_deref(), Some("a\u{fffd}b"));
    }

    #[test]
    fn an_api_versions_request_from_the_future_is_recognised() {
        for (version, unknown) in [
            (0, false),
            (3, false),
            (5, false),
            (6, true),
            (99, true),
            (-1, true),
        ] {
            let rest: &[u8] = if version < 3 { b"\0\0" } else { b"\0\0\0" };
            let (header, _) = RequestHeader::parse(frame(18, version, rest)).unwrap();
            assert_eq!(header.is_unknown_api_versions(), unknown, "{version}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_safe(key in 0i16..100, version in -2i16..20, rest: Vec<u8>, raw: Vec<u8>) {
            let _ = RequestHeader::parse(raw.into());
            if let Ok((_, body)) = RequestHeader::parse(frame(key, version, &rest)) {
                prop_assert!(body.len() < rest.len());
            }
        }
    }
}
