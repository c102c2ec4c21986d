//! stand-in
#![allow(missing_docs, missing_debug_implementations, clippy::all, clippy::pedantic, dead_code)]
use super::source::*;
use std::collections::BTreeMap;
use std::sync::Arc;
pub struct MlflowAccess {
    pub url: reqwest::Url,
    pub credentials: Option<Credentials>,
    pub certificate_authority: Option<Vec<u8>>,
    pub timeout: std::time::Duration,
}
pub enum Credentials {
    Basic { user: String, password: String },
    Bearer { token: String },
}
#[derive(Debug)]
pub struct MlflowClient;
impl MlflowClient {
    pub fn new(_: MlflowAccess) -> Result<Self, SourceError> {
        Ok(Self)
    }
}
#[derive(Debug)]
pub struct MlflowSource;
impl MlflowSource {
    pub fn new(_: Arc<MlflowClient>, _: ModelUri, _: BTreeMap<String, RoleKind>) -> Self {
        Self
    }
}
#[derive(Debug)]
pub enum ModelUri {
    A,
}
impl std::str::FromStr for ModelUri {
    type Err = SourceError;
    fn from_str(_: &str) -> Result<Self, SourceError> {
        Ok(Self::A)
    }
}
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RoleKind {
    Stable,
    Warm,
}
impl Source for MlflowSource {
    fn offer(&self) -> Asked<'_, Offer> {
        unimplemented!()
    }
    fn files(&self, _: u64) -> Asked<'_, Vec<RemoteFile>> {
        unimplemented!()
    }
    fn open<'a>(&'a self, _: u64, _: &'a RemoteFile, _: u64) -> Asked<'a, Box<dyn RemoteBytes>> {
        unimplemented!()
    }
}
