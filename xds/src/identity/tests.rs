use super::*;

const DAY: Duration = Duration::from_hours(24);

fn first(pem: &str) -> CertificateDer<'static> {
    certificates(pem, "certificate").unwrap().remove(0)
}

#[tokio::test(start_paused = true)]
async fn client_certificate_names_its_gateway_and_nothing_else_does() {
    let clock = Clock::system();
    let authority = Authority::generate(&clock, DAY).unwrap();
    let gateway = GatewayId::new("shop", "edge").unwrap();
    let client = authority.issue_client(&clock, &gateway, DAY).unwrap();
    assert_eq!(gateway_of(&first(&client.certificate_pem)), Some(gateway));
    let server = authority
        .issue_server(&clock, &["localhost".into()], DAY)
        .unwrap();
    assert_eq!(gateway_of(&first(&server.certificate_pem)), None);
    assert_eq!(gateway_of(&CertificateDer::from(vec![1, 2, 3])), None);
}

#[tokio::test(start_paused = true)]
async fn lifetime_is_counted_on_the_given_clock() {
    let clock = Clock::starting_at("2031-05-06T07:08:09Z".parse().unwrap());
    let authority = Authority::generate(&clock, 10 * DAY).unwrap();
    let names = ["xds.example".to_owned(), "127.0.0.1".to_owned()];
    let server = authority.issue_server(&clock, &names, DAY).unwrap();
    assert_eq!(server.not_after, "2031-05-07T07:08:09Z".parse().unwrap());
    let der = first(&server.certificate_pem);
    let (_, parsed) = X509Certificate::from_der(&der).unwrap();
    assert_eq!(
        parsed.validity().not_after.timestamp(),
        server.not_after.as_second()
    );
    assert_eq!(
        parsed.validity().not_before.timestamp(),
        clock.now().as_second() - BACKDATE.as_secs()
    );
    let names = &parsed
        .subject_alternative_name()
        .unwrap()
        .unwrap()
        .value
        .general_names;
    assert!(names.contains(&GeneralName::DNSName("xds.example")));
    assert!(names.contains(&GeneralName::IPAddress(&[127, 0, 0, 1])));
}

#[tokio::test(start_paused = true)]
async fn saved_authority_issues_under_the_same_root() {
    let clock = Clock::system();
    let made = Authority::generate(&clock, DAY).unwrap();
    let read = Authority::from_pem(made.certificate_pem(), made.key_pem()).unwrap();
    let server = read
        .issue_server(&clock, &["localhost".into()], DAY)
        .unwrap();
    let (root, leaf) = (
        first(made.certificate_pem()),
        first(&server.certificate_pem),
    );
    let (_, root) = X509Certificate::from_der(&root).unwrap();
    let (_, leaf) = X509Certificate::from_der(&leaf).unwrap();
    assert_eq!(leaf.issuer(), root.subject());
}

#[tokio::test(start_paused = true)]
async fn keys_are_never_printed() {
    let clock = Clock::system();
    let authority = Authority::generate(&clock, DAY).unwrap();
    let identity = authority
        .issue_server(&clock, &["localhost".into()], DAY)
        .unwrap();
    let body = identity.key_pem.expose().lines().nth(1).unwrap().to_owned();
    let error = Authority::from_pem("no certificate", &identity.key_pem).unwrap_err();
    for text in [
        format!("{identity:?}"),
        format!("{authority:?}"),
        format!("{error:?}"),
    ] {
        assert!(
            !text.contains(&body) && !text.contains("PRIVATE KEY"),
            "{text}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_that_no_certificate_can_have_is_refused() {
    let clock = Clock::system();
    let authority = Authority::generate(&clock, DAY).unwrap();
    let error = authority
        .issue_server(&clock, &["b\u{e4}d".into()], DAY)
        .unwrap_err();
    assert!(error.to_string().contains("b\u{e4}d"), "{error}");
    let error = Authority::generate(&clock, Duration::from_secs(u64::MAX)).unwrap_err();
    assert!(matches!(error, Error::Time { .. }), "{error}");
}
