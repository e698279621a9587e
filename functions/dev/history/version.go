package history

// DefaultVersions matches the tags that are deployments unless said otherwise:
// releases of the whole repository, such as v1.2.3, 1.4, release-2.0.0 and
// 2024.05.1. It leaves out
//   - prereleases (v1.2.3-rc.1): they do not reach production, and the release
//     that follows brings their changes;
//   - modules of a repository (module/v1.2.3): they release a part of it, often
//     several at a time with the release of the whole;
//   - tags that move (v1, latest): they name a release that has a tag already.
const DefaultVersions = `^(?:release[-_/])?[vV]?\d+(?:\.\d+)+(?:\+[0-9A-Za-z.-]+)?$`
