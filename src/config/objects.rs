//! `[registry.objects]`, `[registry.s3]`, `[registry.gcs]` and `[registry.azure]`: the object stores that models are in.
//!
//! Invariant: keys are secrets, come in pairs, and go over plain HTTP only where that is said.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;

use super::problem::ProblemKind;
use super::reader::Reader;
use super::registry::registry_url;
use super::secret::Secret;
use super::secret_source::secret;
use super::values::{duration, flag, name, path};

/// The object stores that models are in.
#[derive(Clone, Debug, PartialEq)]
pub struct ObjectSettings {
    /// Time between two looks at a model's prefix. Default 30 s.
    pub poll_interval: Duration,
    /// S3, and what speaks as it does.
    pub s3: S3Settings,
    /// Google Cloud Storage.
    pub gcs: GcsSettings,
    /// Azure Blob Storage.
    pub azure: AzureSettings,
}

/// S3, and what speaks as it does.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct S3Settings {
    /// Where it answers. Default: Amazon's, by the region.
    pub endpoint: Option<Url>,
    /// The region. Default `us-east-1`, or the environment's.
    pub region: Option<String>,
    /// Whose key it is. Default: the environment's, or the machine's.
    pub access_key_id: Option<Secret>,
    /// The key.
    pub secret_access_key: Option<Secret>,
    /// The token of a session that the key is of. Default none.
    pub session_token: Option<Secret>,
    /// Whether the endpoint may be asked without TLS. Default no.
    pub allow_http: bool,
    /// Whether the bucket is part of the host. Default no: it is part of the path.
    pub virtual_hosted: bool,
    /// Whether requests are not signed. Default no.
    pub anonymous: bool,
    /// A file of certificates, PEM, that the endpoint's may be signed by, besides those of the system. Default `None`.
    pub ca_file: Option<PathBuf>,
}

/// Google Cloud Storage.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GcsSettings {
    /// The file of a service account's key, JSON. Default: the environment's, or the machine's.
    pub service_account: Option<PathBuf>,
    /// Where it answers. Default: Google's.
    pub endpoint: Option<Url>,
    /// Whether requests are not signed. Default no.
    pub anonymous: bool,
}

/// Azure Blob Storage.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AzureSettings {
    /// The account. Default: the address's, or the environment's.
    pub account: Option<String>,
    /// Its key. Default: the environment's, or the machine's identity.
    pub access_key: Option<Secret>,
    /// Where it answers. Default: Azure's, by the account.
    pub endpoint: Option<Url>,
    /// Whether requests are not signed. Default no.
    pub anonymous: bool,
}

impl Default for ObjectSettings {
    fn default() -> Self {
        Self {
            poll_interval: Duration::from_secs(30),
            s3: S3Settings::default(),
            gcs: GcsSettings::default(),
            azure: AzureSettings::default(),
        }
    }
}

/// The tables of `[registry]` that are of object stores.
pub(super) fn objects(reader: &mut Reader<'_, '_>) -> ObjectSettings {
    ObjectSettings {
        poll_interval: reader.table("objects", poll_interval),
        s3: reader.table("s3", s3),
        gcs: reader.table("gcs", gcs),
        azure: reader.table("azure", azure),
    }
}

fn poll_interval(reader: &mut Reader<'_, '_>) -> Duration {
    let limits = Duration::from_secs(1)..=Duration::from_secs(3_600);
    reader.value("poll_interval", duration(limits)).unwrap_or(ObjectSettings::default().poll_interval)
}

fn s3(reader: &mut Reader<'_, '_>) -> S3Settings {
    let (has_id, has_key) = (reader.has("access_key_id"), reader.has("secret_access_key"));
    if has_id != has_key || reader.has("session_token") && !has_id {
        let reason = "access_key_id and secret_access_key go together, and session_token with them".to_owned();
        reader.own_problem(ProblemKind::Conflict { reason });
    }
    let (access_key_id, secret_access_key) = (secret(reader, "access_key_id"), secret(reader, "secret_access_key"));
    let settings = S3Settings {
        endpoint: reader.value("endpoint", registry_url),
        region: reader.value("region", name),
        access_key_id,
        secret_access_key,
        session_token: secret(reader, "session_token"),
        allow_http: reader.value("allow_http", flag).unwrap_or(false),
        virtual_hosted: reader.value("virtual_hosted", flag).unwrap_or(false),
        anonymous: reader.value("anonymous", flag).unwrap_or(false),
        ca_file: reader.value("ca_file", path),
    };
    if settings.endpoint.as_ref().is_some_and(|endpoint| endpoint.scheme() == "http") && !settings.allow_http {
        let reason = "the endpoint is http:, which needs allow_http = true".to_owned();
        reader.own_problem(ProblemKind::Conflict { reason });
    }
    if settings.anonymous && has_id {
        reader.own_problem(ProblemKind::Conflict { reason: "anonymous requests have no key".to_owned() });
    }
    settings
}

fn gcs(reader: &mut Reader<'_, '_>) -> GcsSettings {
    GcsSettings {
        service_account: reader.value("service_account", path),
        endpoint: reader.value("endpoint", registry_url),
        anonymous: reader.value("anonymous", flag).unwrap_or(false),
    }
}

fn azure(reader: &mut Reader<'_, '_>) -> AzureSettings {
    AzureSettings {
        account: reader.value("account", name),
        access_key: secret(reader, "access_key"),
        endpoint: reader.value("endpoint", registry_url),
        anonymous: reader.value("anonymous", flag).unwrap_or(false),
    }
}
