//! Where objects are: `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix`, a directory of this machine.
//!
//! Of Azure also the forms that name the account, `abfss://container@account.dfs.core.windows.net/prefix` and `wasbs://…`,
//! which is how MLflow writes them. Keys are taken as they are written, not percent-decoded: that is how they are written
//! for `s3:` everywhere.
//!
//! Invariant: a prefix has no empty parts, no `.` and `..`, and no slash at its ends.

use crate::registry::source::{SourceError, shown};
use object_store::path::Path;
use percent_encoding::percent_decode_str;
use std::fmt;
use std::str::FromStr;

/// What an account's host ends with: credentials go nowhere else.
const AZURE_HOSTS: &str = ".core.windows.net";
/// What an address may be, for people.
const FORMS: &str = "s3://bucket/prefix, gs://bucket/prefix, az://container/prefix, abfss://container@account.dfs.core.windows.net/prefix, file:///directory or an absolute path";

/// One store: what has credentials and connections of its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StoreName {
    /// A bucket of S3, or of what speaks as S3 does.
    S3 {
        /// The bucket.
        bucket: String,
    },
    /// A bucket of Google Cloud Storage.
    Gcs {
        /// The bucket.
        bucket: String,
    },
    /// A container of Azure Blob Storage.
    Azure {
        /// The container.
        container: String,
        /// The account, where the address names it.
        account: Option<String>,
    },
    /// The files of this machine.
    Local,
}

/// A place in a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectAddress {
    /// The store.
    pub store: StoreName,
    /// What is below it.
    pub prefix: Path,
}

impl FromStr for ObjectAddress {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        let refused = || refused(text);
        if text.starts_with('/') {
            return local(text).ok_or_else(refused);
        }
        let (scheme, rest) = text.split_once("://").ok_or_else(refused)?;
        let (netloc, path) = rest.split_once('/').unwrap_or((rest, ""));
        if scheme == "file" {
            let decoded = percent_decode_str(path).decode_utf8().ok().filter(|_| matches!(netloc, "" | "localhost"));
            return decoded.and_then(|path| local(&format!("/{path}"))).ok_or_else(refused);
        }
        let bucket = Some(netloc).filter(|bucket| is_bucket(bucket)).map(str::to_owned);
        let store = match scheme {
            "s3" | "s3a" => bucket.map(|bucket| StoreName::S3 { bucket }),
            "gs" => bucket.map(|bucket| StoreName::Gcs { bucket }),
            "az" => bucket.map(|container| StoreName::Azure { container, account: None }),
            "abfss" | "abfs" | "wasbs" | "wasb" => azure(netloc),
            _ => None,
        };
        Ok(Self { store: store.ok_or_else(refused)?, prefix: prefix(path).ok_or_else(refused)? })
    }
}

impl fmt::Display for ObjectAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.store, self.prefix)
    }
}

impl fmt::Display for StoreName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::S3 { bucket } => write!(formatter, "s3://{bucket}"),
            Self::Gcs { bucket } => write!(formatter, "gs://{bucket}"),
            Self::Azure { container, account: None } => write!(formatter, "az://{container}"),
            Self::Azure { container, account: Some(account) } => {
                write!(formatter, "abfss://{container}@{account}.dfs{AZURE_HOSTS}")
            }
            Self::Local => formatter.write_str("file://"),
        }
    }
}

/// Whether an address is of a store in the cloud, whatever else may be wrong with it.
#[must_use]
pub fn is_of_a_store(address: &str) -> bool {
    let schemes = ["s3", "s3a", "gs", "az", "abfss", "abfs", "wasbs", "wasb"];
    address.split_once("://").is_some_and(|(scheme, _)| schemes.contains(&scheme))
}

fn refused(found: &str) -> SourceError {
    let reason = format!("expected {FORMS}, found {:?}", shown(found));
    SourceError::Unexpected { place: "the address of a model".to_owned(), reason }
}

fn prefix(path: &str) -> Option<Path> {
    // The library would take a slash off the front, which is part of a key.
    (!path.starts_with('/')).then(|| Path::parse(path.trim_end_matches('/')).ok())?
}

fn local(path: &str) -> Option<ObjectAddress> {
    Some(ObjectAddress {
        store: StoreName::Local,
        prefix: prefix(path.strip_prefix('/')?).filter(|prefix| !prefix.is_root())?,
    })
}

/// A name that is part of a host or of a path and nothing else in either.
fn is_bucket(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'$');
    (1..=255).contains(&name.len()) && name.bytes().all(is_plain) && !matches!(name, "." | "..")
}

fn azure(netloc: &str) -> Option<StoreName> {
    let (container, host) = netloc.split_once('@')?;
    let (account, _) = host.strip_suffix(AZURE_HOSTS)?.split_once('.')?;
    let names_are_fine = is_bucket(container) && account.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let (container, account) = (container.to_owned(), Some(account.to_owned()).filter(|account| !account.is_empty())?);
    names_are_fine.then_some(StoreName::Azure { container, account: Some(account) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Option<(String, String)> {
        let address: ObjectAddress = text.parse().ok()?;
        Some((address.store.to_string(), address.prefix.to_string()))
    }

    #[test]
    fn every_form_names_a_store_and_a_place_in_it() {
        let account = "abfss://models@acc1.dfs.core.windows.net";
        for (text, store, prefix) in [
            ("s3://bucket/models/churn/", "s3://bucket", "models/churn"),
            ("s3a://bucket", "s3://bucket", ""),
            ("s3://bucket/a%20b/c d", "s3://bucket", "a%20b/c d"),
            ("gs://bucket/x", "gs://bucket", "x"),
            ("az://models/x", "az://models", "x"),
            (&format!("{account}/x/y"), account, "x/y"),
            ("wasbs://models@acc1.blob.core.windows.net/x", account, "x"),
            ("/srv/models/churn", "file://", "srv/models/churn"),
            ("file:///srv/a%20b", "file://", "srv/a b"),
            ("file://localhost/srv", "file://", "srv"),
        ] {
            assert_eq!(read(text), Some((store.to_owned(), prefix.to_owned())), "{text}");
        }
    }

    #[test]
    fn what_leads_elsewhere_is_refused() {
        for text in [
            "",
            "/",
            "models",
            "s3:/bucket/x",
            "s3:///x",
            "s3://user:key@bucket/x",
            "s3://bucket/../x",
            "s3://bucket//x",
            "s3://../x",
            "https://bucket/x",
            "file://elsewhere/x",
            "file:///a/%2e%2e/b",
            "/srv/../etc",
            "abfss://models@acc1.dfs.core.windows.net.example.org/x",
            "abfss://models@example.org/x",
            "abfss://models@.core.windows.net/x",
            "abfss://models@a_b.dfs.core.windows.net/x",
            "abfss://models/x",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
        assert!(is_of_a_store("s3://bucket/../x") && !is_of_a_store("/srv") && !is_of_a_store("file:///srv"));
    }

    proptest! {
        #[test]
        fn an_address_is_read_as_it_is_written(
            scheme in "s3|gs|az", bucket in "[a-z0-9-]{1,20}", path in "[a-z0-9 .%+]{1,5}x(/[a-z0-9]{1,5}){0,3}",
        ) {
            let text = format!("{scheme}://{bucket}/{path}");
            prop_assert_eq!(text.parse::<ObjectAddress>().unwrap().to_string(), text);
        }

        #[test]
        fn no_address_is_too_odd(text in any::<String>(), path in "[./%2eab@:]{0,12}") {
            for text in [text, format!("s3://{path}"), format!("abfss://{path}"), format!("file://{path}")] {
                if let Ok(address) = text.parse::<ObjectAddress>() {
                    prop_assert!(address.prefix.parts().all(|part| !matches!(part.as_ref(), "" | "." | "..")));
                }
            }
        }
    }
}
