//! Why wgpu finds no Vulkan device, and what to install. The loader itself gives no reason.

use std::path::{Path, PathBuf};

/// The library of the Vulkan loader, which looks for drivers.
const LOADER: &str = "libvulkan.so.1";

/// Environment variables that replace the loader's own search for drivers.
const REPLACED: [&str; 2] = ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"];

/// Folders with a description of each driver.
const DESCRIPTIONS: [&str; 5] = [
    "/usr/share/vulkan/icd.d",
    "/usr/local/share/vulkan/icd.d",
    "/etc/vulkan/icd.d",
    "/usr/local/etc/vulkan/icd.d",
    "/run/opengl-driver/share/vulkan/icd.d",
];

/// Says what is missing on this machine.
pub(super) fn reason() -> String {
    let libraries: Vec<PathBuf> = std::env::var_os("LD_LIBRARY_PATH")
        .iter()
        .flat_map(std::env::split_paths)
        .chain(["/lib", "/usr/lib", "/lib64", "/usr/lib64", "/usr/local/lib"].map(PathBuf::from))
        .chain([PathBuf::from(format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH))])
        .collect();
    let replaced = REPLACED.into_iter().find_map(|name| Some((name, std::env::var(name).ok()?)));
    let descriptions = DESCRIPTIONS.map(PathBuf::from);
    if cfg!(target_os = "linux") {
        on_linux(&libraries, replaced, &descriptions)
    } else {
        "wgpu finds no Vulkan device: the driver of the card brings Vulkan, and `vulkaninfo --summary` shows what there is"
            .into()
    }
}

fn on_linux(libraries: &[PathBuf], replaced: Option<(&str, String)>, descriptions: &[PathBuf]) -> String {
    if !libraries.iter().any(|folder| folder.join(LOADER).exists()) {
        return format!(
            "no Vulkan loader: {LOADER} is not among the libraries (Debian: `apt-get install libvulkan1`, and a driver)"
        );
    }
    if let Some((name, value)) = replaced {
        return format!("no Vulkan device: {name}={value} says which drivers to take, and they find none");
    }
    if !descriptions.iter().any(|folder| has_files(folder)) {
        return "no Vulkan driver: NVIDIA's comes with its driver; Mesa's for AMD, Intel and, in software, every CPU with \
                `apt-get install mesa-vulkan-drivers` (Debian)"
            .into();
    }
    "no Vulkan device: there are drivers, and none of them finds a device; `vulkaninfo --summary` (Debian: vulkan-tools) \
     tells more"
        .into()
}

fn has_files(folder: &Path) -> bool {
    std::fs::read_dir(folder).is_ok_and(|mut files| files.next().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loader_driver_and_device_are_told_apart() {
        let home = tempfile::tempdir().unwrap();
        let [libraries, drivers] = ["lib", "icd.d"].map(|name| home.path().join(name));
        for folder in [&libraries, &drivers] {
            std::fs::create_dir_all(folder).unwrap();
        }
        let say =
            |replaced| on_linux(std::slice::from_ref(&libraries), replaced, std::slice::from_ref(&drivers));
        assert!(say(None).contains("apt-get install libvulkan1"), "{}", say(None));
        std::fs::write(libraries.join(LOADER), "").unwrap();
        assert!(say(None).contains("apt-get install mesa-vulkan-drivers"), "{}", say(None));
        let replaced = say(Some(("VK_DRIVER_FILES", "/x.json".into())));
        assert!(replaced.contains("VK_DRIVER_FILES=/x.json"), "{replaced}");
        std::fs::write(drivers.join("card.json"), "{}").unwrap();
        assert!(say(None).contains("none of them finds a device"), "{}", say(None));
    }
}
