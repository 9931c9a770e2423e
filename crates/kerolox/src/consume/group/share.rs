//! Which queues are whose.

/// The part of `all` that is the member `own`'s, if each of `members` takes one run of about
/// equal length; the first members have one more when it does not come out even
/// (`AllocateMessageQueueAveragely` of the reference). Both lists are in the order that all
/// members agree on. Nothing if `own` is not among the members.
pub(super) fn share<'a, T>(all: &'a [T], members: &[String], own: &str) -> &'a [T] {
    let Some(index) = members.iter().position(|member| member == own) else {
        return &[];
    };
    let (least, rest) = (all.len() / members.len(), all.len() % members.len());
    let start = index * least + index.min(rest);
    let count = least + usize::from(index < rest);
    all.get(start..start + count).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the reference's allocator divides them.
    #[test]
    fn queues_are_divided_as_all_members_expect() {
        let members: Vec<String> = ["a", "b", "c"].map(str::to_owned).to_vec();
        let divided = |queues: &[u32]| -> Vec<Vec<u32>> {
            members
                .iter()
                .map(|member| share(queues, &members, member).to_vec())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            divided(&[0, 1, 2, 3, 4, 5, 6, 7]),
            [vec![0, 1, 2], vec![3, 4, 5], vec![6, 7]]
        );
        assert_eq!(divided(&[0, 1, 2]), [vec![0], vec![1], vec![2]]);
        assert_eq!(divided(&[0]), [vec![0], vec![], vec![]]);
        assert!(divided(&[]).iter().all(Vec::is_empty));
        assert!(share(&[0, 1], &members, "x").is_empty());
    }
}
