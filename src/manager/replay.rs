//! stub
use crate::files;
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
    let root = data.join("history");
    for n in files::names_in(&root)? {
        let p = root.join(&n);
        let t = files::read_bounded(&p.join("agent"), 200)?;
        v.push((
            String::from_utf8_lossy(&t).trim().parse().unwrap(),
            n.parse().unwrap(),
            p,
        ));
    }
    Ok(v)
}
