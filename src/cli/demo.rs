//! placeholder
use super::DemoArgs;
pub(super) fn run(_args: &DemoArgs) -> Result<(), String> {
    Ok(())
}
