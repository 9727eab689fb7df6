//! Kubeconfigs: a file that somebody names with `--kubeconfig`.

#![no_main]

use kube::config::{KubeConfigOptions, Kubeconfig};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(config) = Kubeconfig::from_yaml(&String::from_utf8_lossy(data)) else { return };
    // A plugin that is named in it must not be run here.
    if config.auth_infos.iter().any(|it| it.auth_info.as_ref().is_some_and(|info| info.exec.is_some())) {
        return;
    }
    let options = KubeConfigOptions::default();
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime can be made");
    let _ = runtime.block_on(kube::Config::from_custom_kubeconfig(config, &options));
});
