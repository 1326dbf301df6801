//! What `embly dev` knows of the project that is being worked on, for the pages that it shows a
//! developer in place of an answer, and the builds that such a page waits for.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use protos::Reason;
use tokio::sync::watch;

/// The project as the last build has found it.
#[derive(Debug, Clone, Default)]
pub struct Project {
    /// Its folder.
    pub root: PathBuf,
    /// What the code of each function is.
    pub functions: HashMap<String, Code>,
    /// What is wrong with the project file as it is now, where an earlier one is served.
    pub wrong: Option<String>,
}

/// The code of one function.
#[derive(Debug, Clone, Default)]
pub struct Code {
    /// Its folder, or its file.
    pub path: PathBuf,
    /// Files that its build has read, and folders of such files.
    pub sources: Vec<PathBuf>,
    /// What was said, where it was not built.
    pub failed: Option<String>,
}

impl Project {
    /// Whether the last build of this function has failed.
    pub fn is_broken(&self, function: &str) -> bool {
        let code = self.functions.get(function);
        code.is_some_and(|code| code.failed.is_some())
    }
}

/// Shared by all gateways of a master that serves a developer.
pub struct Workbench {
    /// What a reason means and what to do.
    pub explain: fn(Reason) -> &'static str,
    /// Tells builds of this process from those of another.
    run: String,
    builds: watch::Sender<u64>,
    project: RwLock<Arc<Project>>,
}

impl std::fmt::Debug for Workbench {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Workbench").finish_non_exhaustive()
    }
}

impl Workbench {
    /// For this project, which was built.
    pub fn new(explain: fn(Reason) -> &'static str, project: Project) -> Self {
        Self {
            explain,
            run: uuid::Uuid::now_v7().simple().to_string(),
            builds: watch::Sender::new(0),
            project: RwLock::new(Arc::new(project)),
        }
    }

    /// The project as it is now.
    pub fn project(&self) -> Arc<Project> {
        let project = self.project.read();
        Arc::clone(&project.unwrap_or_else(PoisonError::into_inner))
    }

    /// A build is over, and what it has made is served.
    pub fn set(&self, project: Project) {
        *self.project.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(project);
        self.builds.send_modify(|build| *build += 1);
    }

    /// Names the last build.
    pub fn build(&self) -> String {
        let build = *self.builds.borrow();
        self.name(build)
    }

    fn name(&self, build: u64) -> String {
        format!("{}-{build}", self.run)
    }

    /// Returns the name of the last build as soon as that is another one.
    pub async fn build_after(&self, known: &str) -> String {
        let mut builds = self.builds.subscribe();
        // It cannot fail: the sender is ours.
        let _ = builds.wait_for(|build| self.name(*build) != known).await;
        self.build()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_knows_another_build_is_told_at_once_and_the_others_with_the_next() {
        let bench = Workbench::new(|_| "", Project::default());
        let first = bench.build();
        assert_eq!(bench.build_after("of another run").await, first);
        let next = bench.build_after(&first);
        bench.set(Project::default());
        let next = next.await;
        assert_ne!(next, first);
        assert_eq!(next, bench.build());
    }
}
