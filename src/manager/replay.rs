//! stub
pub fn replay(
    _d: &std::path::Path,
    _s: crate::model::Wall,
    _e: impl FnMut(crate::model::Epoch, crate::record::Record),
) -> crate::error::Result<()> {
    Ok(())
}

/// stub
pub fn histories(
    data: &std::path::Path,
) -> crate::error::Result<Vec<(crate::model::Name, crate::model::Id, std::path::PathBuf)>> {
    let mut v = vec![];
    if let Ok(rd) = std::fs::read_dir(data.join("history")) {
        for e in rd {
            let e = e.unwrap();
            let n = std::fs::read_to_string(e.path().join("agent")).unwrap();
            v.push((
                n.trim().parse().unwrap(),
                e.file_name().to_str().unwrap().parse().unwrap(),
                e.path(),
            ));
        }
    }
    Ok(v)
}
