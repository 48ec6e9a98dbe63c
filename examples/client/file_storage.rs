//! [`FileStorage`]: tokens in a file that only its owner can read.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use tower_jwt_auth::client::{BoxError, TokenStorage, Tokens};

/// Replaces the file as a whole: whoever reads it meanwhile, and whoever is stopped meanwhile, has the old tokens or the
/// new ones.
pub(crate) struct FileStorage {
    path: PathBuf,
}

impl FileStorage {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }
}

impl TokenStorage for FileStorage {
    async fn load(&self) -> Result<Option<Tokens>, BoxError> {
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(named(&self.path, &error)),
        };
        refuse_shared(&file, &self.path)?;
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(|error| named(&self.path, &error))?;
        Ok(Some(Tokens::from_json(&text)?))
    }

    async fn save(&self, tokens: Option<&Tokens>) -> Result<(), BoxError> {
        let saved = match tokens {
            Some(tokens) => replace(&self.path, tokens.expose_json().as_bytes()),
            None => match fs::remove_file(&self.path) {
                Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            },
        };
        saved.map_err(|error| named(&self.path, &error))
    }
}

fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        create_own(directory)?;
    }
    // Beside it, so that the rename is one step, and of this process alone.
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    let beside = PathBuf::from(beside);
    // What a process of this number left behind, with whatever rights it had.
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let written = new_own(&beside).and_then(|mut file| {
        file.write_all(text)?;
        // On the disk before its name is: a crash must not leave an empty file.
        file.sync_all()
    });
    let replaced = written.and_then(|()| fs::rename(&beside, path));
    if replaced.is_err() {
        let _ = fs::remove_file(&beside);
    }
    replaced
}

/// A new file, of its owner only from its first moment on.
fn new_own(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn create_own(directory: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

/// Tokens that others could read are not to be trusted, and whoever made the file so should know.
#[cfg_attr(not(unix), allow(unused_variables, clippy::unnecessary_wraps))]
fn refuse_shared(file: &File, path: &Path) -> Result<(), BoxError> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = file.metadata()?.permissions().mode();
        if mode & 0o077 != 0 {
            let path = path.display();
            return Err(format!(
                "{path} can be read by others (mode {:o}): log in anew after `rm {path}`",
                mode & 0o777
            )
            .into());
        }
    }
    Ok(())
}

fn named(path: &Path, error: &io::Error) -> BoxError {
    format!("{}: {error}", path.display()).into()
}
