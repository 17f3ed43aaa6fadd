//! The line that tells a reader of another language how to get help free of charge. The sentences are the taglines that the Office for
//! Civil Rights of HHS published for notices under section 1557 (45 CFR 92.11 and 92.201); a site may have its own reviewed.

/// Tag, the words before the number, the words after it.
const LINES: [(&str, &str, &str); 11] = [
    ("es", "ATENCIÓN: si habla español, tiene a su disposición servicios gratuitos de asistencia lingüística. Llame al ", "."),
    ("zh", "注意：如果您使用中文，您可以免費獲得語言援助服務。請致電 ", "。"),
    ("vi", "CHÚ Ý: Nếu bạn nói Tiếng Việt, có các dịch vụ hỗ trợ ngôn ngữ miễn phí dành cho bạn. Gọi số ", "."),
    ("ko", "주의: 한국어를 사용하시는 경우, 언어 지원 서비스를 무료로 이용하실 수 있습니다. ", " 번으로 전화해 주십시오."),
    (
        "tl",
        "PAUNAWA: Kung nagsasalita ka ng Tagalog, maaari kang gumamit ng mga serbisyo ng tulong sa wika nang walang bayad. Tumawag sa ",
        ".",
    ),
    ("ru", "ВНИМАНИЕ: Если вы говорите на русском языке, то вам доступны бесплатные услуги перевода. Звоните ", "."),
    ("fr", "ATTENTION : Si vous parlez français, des services d'aide linguistique vous sont proposés gratuitement. Appelez le ", "."),
    ("pt", "ATENÇÃO: Se fala português, encontram-se disponíveis serviços linguísticos, grátis. Ligue para ", "."),
    ("de", "ACHTUNG: Wenn Sie Deutsch sprechen, stehen Ihnen kostenlos sprachliche Hilfsdienstleistungen zur Verfügung. Rufnummer: ", "."),
    ("ht", "ATANSYON: Si w pale Kreyòl Ayisyen, gen sèvis èd pou lang ki disponib gratis pou ou. Rele ", "."),
    ("pl", "UWAGA: Jeżeli mówisz po polsku, możesz skorzystać z bezpłatnej pomocy językowej. Zadzwoń pod numer ", "."),
];

/// The line in the language of `tag`, in English where there is none.
pub(super) fn line(tag: &str, phone: &str) -> String {
    let primary = tag.split('-').next().unwrap_or_default().to_ascii_lowercase();
    // Filipino is written with the Tagalog tagline.
    let primary = if primary == "fil" { "tl" } else { primary.as_str() };
    LINES.iter().find(|(language, ..)| *language == primary).map_or_else(
        || format!("Free help in your language is available. Call {phone}."),
        |(_, before, after)| format!("{before}{phone}{after}"),
    )
}
