/**
 * The types of the API. Generated from openapi.json: do not edit, run `npm run generate`.
 */
export interface paths {
    "/api/c2a/customer/validate": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post: operations["validate"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/c2a/customer/store": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post: operations["store"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/c2a/customer/delete": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post: operations["delete"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/c2a/customer/update": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post: operations["update"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/c2a/customer/info": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get: operations["info"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/c2a/customer/erasure": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get: operations["erasure"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/c2a/customer/find": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post: operations["find"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/c2a/customer/changes": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get: operations["changes"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/c2a/customer/history": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get: operations["history"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/c2a/customer/subject-export": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post: operations["subjectExport"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/c2a/customer/sync": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post: operations["sync"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/c2a/customer/merge": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post: operations["merge"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/c2a/customer/references": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get: operations["listReferences"];
        put?: never;
        post: operations["bindReference"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/c2a/customer/export": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get: operations["export"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/c2a/customer/import": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post: operations["import"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/openapi.json": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/docs": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/healthz": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/readyz": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/metrics": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/.well-known/c2a-receipts": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get: operations["receiptKey"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
}
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        Customer: {
            /** @description Our identifier of the customer. */
            customerUrn: string;
            /** @description The tenant's own identifier of the customer: 1 to 128 characters, trimmed and in Unicode NFC, then compared byte for byte. */
            externalIdentifier: string;
            /** @description RFC 5321 mailbox; unique within the tenant in its canonical form. */
            email?: string;
            /** @description Phone number, returned in E.164; unique within the tenant. */
            phoneNumber?: string;
            /** @description Form of address. */
            salutation?: string;
            /** @description Given name. */
            firstName?: string;
            /** @description Family name. */
            lastName?: string;
            /**
             * @description Gender.
             * @enum {string}
             */
            gender?: "Female" | "Male" | "Diverse" | "Unspecified";
            /**
             * @description Natural or legal person.
             * @enum {string}
             */
            legalType: "Individual" | "Corporate";
            /** @description Postal address for bills. */
            primaryBillingAddress?: {
                /** @description Street and house number. */
                street?: string;
                /** @description Second line of the address. */
                street2?: string;
                /** @description City. */
                city?: string;
                /** @description Postal code. */
                postalCode?: string;
                /** @description State or province. */
                state?: string;
                /** @description ISO 3166-1 alpha-2. */
                countryCode: string;
            };
            /** @description Required where legalType is Corporate. */
            corporationInfo?: {
                /** @description Registered name. */
                companyName: string;
                /** @description Tax number. */
                taxNumber?: string;
                /** @description Tax office. */
                taxOffice?: string;
                /** @description Number in the commercial register. */
                registrationNumber?: string;
            };
            /** @description Consents to be contacted. */
            privacy: {
                /** @description May be contacted by e-mail. */
                emailConsent: boolean;
                /** @description May be contacted by SMS. */
                smsConsent: boolean;
                /** @description May be called. */
                phoneConsent: boolean;
                /** @description May be sent push notifications. */
                pushConsent: boolean;
                /** @description May be profiled. */
                profilingConsent: boolean;
            };
            /** @enum {string} */
            status: "Active" | "Inactive" | "Churned" | "Blocked" | "Anonymized";
            /** @description The region that the customer claims; national phone numbers are read in it. */
            claimedRegion: {
                /** @description ISO 3166-1 alpha-2. */
                countryCode: string;
                /** @description ISO 639-1. */
                languageCode: string;
            };
            /** @description A number that grows with every change of the customer in the tenant's system, such as a row version or a change time. */
            sourceRevision?: number;
            /**
             * Format: date-time
             * @description ISO 8601, UTC, milliseconds.
             */
            createdAt: string;
            /**
             * Format: date-time
             * @description ISO 8601, UTC, milliseconds.
             */
            updatedAt: string;
            /**
             * Format: date-time
             * @description ISO 8601, UTC, milliseconds.
             */
            anonymizedAt?: string;
            /** @description The customer into which this one was merged, if it was merged. */
            mergedInto?: string;
        };
        CustomerState: {
            /** @description Names the record, so that externalIdentifier can change. */
            customerUrn?: string | null;
            /** @description The tenant's own identifier of the customer: 1 to 128 characters, trimmed and in Unicode NFC, then compared byte for byte. */
            externalIdentifier: string;
            /** @description RFC 5321 mailbox; unique within the tenant in its canonical form. */
            email?: string | null;
            /** @description Phone number, returned in E.164; unique within the tenant. */
            phoneNumber?: string | null;
            /** @description Form of address. */
            salutation?: string | null;
            /** @description Given name. */
            firstName?: string | null;
            /** @description Family name. */
            lastName?: string | null;
            /**
             * @description Gender.
             * @enum {string|null}
             */
            gender?: "Female" | "Male" | "Diverse" | "Unspecified" | null;
            /**
             * @description Natural or legal person. Default: Individual.
             * @enum {string|null}
             */
            legalType?: "Individual" | "Corporate" | null;
            /** @description Postal address for bills. */
            primaryBillingAddress?: {
                /** @description Street and house number. */
                street?: string | null;
                /** @description Second line of the address. */
                street2?: string | null;
                /** @description City. */
                city?: string | null;
                /** @description Postal code. */
                postalCode?: string | null;
                /** @description State or province. */
                state?: string | null;
                /** @description ISO 3166-1 alpha-2. */
                countryCode: string;
            } | null;
            /** @description Required where legalType is Corporate. */
            corporationInfo?: {
                /** @description Registered name. */
                companyName: string;
                /** @description Tax number. */
                taxNumber?: string | null;
                /** @description Tax office. */
                taxOffice?: string | null;
                /** @description Number in the commercial register. */
                registrationNumber?: string | null;
            } | null;
            /** @description Consents to be contacted. */
            privacy?: {
                /** @description May be contacted by e-mail. Default: false. */
                emailConsent?: boolean | null;
                /** @description May be contacted by SMS. Default: false. */
                smsConsent?: boolean | null;
                /** @description May be called. Default: false. */
                phoneConsent?: boolean | null;
                /** @description May be sent push notifications. Default: false. */
                pushConsent?: boolean | null;
                /** @description May be profiled. Default: false. */
                profilingConsent?: boolean | null;
            } | null;
            /**
             * @description The status that the tenant asserts. Default: Active.
             * @enum {string|null}
             */
            status?: "Active" | "Inactive" | "Churned" | "Blocked" | null;
        };
        CustomerPreview: {
            /** @description Our identifier of the customer. */
            customerUrn?: string;
            /** @description The tenant's own identifier of the customer: 1 to 128 characters, trimmed and in Unicode NFC, then compared byte for byte. */
            externalIdentifier: string;
            /** @description RFC 5321 mailbox; unique within the tenant in its canonical form. */
            email?: string;
            /** @description Phone number, returned in E.164; unique within the tenant. */
            phoneNumber?: string;
            /** @description Form of address. */
            salutation?: string;
            /** @description Given name. */
            firstName?: string;
            /** @description Family name. */
            lastName?: string;
            /**
             * @description Gender.
             * @enum {string}
             */
            gender?: "Female" | "Male" | "Diverse" | "Unspecified";
            /**
             * @description Natural or legal person.
             * @enum {string}
             */
            legalType: "Individual" | "Corporate";
            /** @description Postal address for bills. */
            primaryBillingAddress?: {
                /** @description Street and house number. */
                street?: string;
                /** @description Second line of the address. */
                street2?: string;
                /** @description City. */
                city?: string;
                /** @description Postal code. */
                postalCode?: string;
                /** @description State or province. */
                state?: string;
                /** @description ISO 3166-1 alpha-2. */
                countryCode: string;
            };
            /** @description Required where legalType is Corporate. */
            corporationInfo?: {
                /** @description Registered name. */
                companyName: string;
                /** @description Tax number. */
                taxNumber?: string;
                /** @description Tax office. */
                taxOffice?: string;
                /** @description Number in the commercial register. */
                registrationNumber?: string;
            };
            /** @description Consents to be contacted. */
            privacy: {
                /** @description May be contacted by e-mail. */
                emailConsent: boolean;
                /** @description May be contacted by SMS. */
                smsConsent: boolean;
                /** @description May be called. */
                phoneConsent: boolean;
                /** @description May be sent push notifications. */
                pushConsent: boolean;
                /** @description May be profiled. */
                profilingConsent: boolean;
            };
            /** @enum {string} */
            status: "Active" | "Inactive" | "Churned" | "Blocked" | "Anonymized";
            /** @description The region that the customer claims; national phone numbers are read in it. */
            claimedRegion: {
                /** @description ISO 3166-1 alpha-2. */
                countryCode: string;
                /** @description ISO 639-1. */
                languageCode: string;
            };
            /** @description A number that grows with every change of the customer in the tenant's system, such as a row version or a change time. */
            sourceRevision?: number;
        };
        Snapshot: {
            /** @description Our identifier of the customer. */
            customerUrn: string;
            /** @description The tenant's own identifier of the customer: 1 to 128 characters, trimmed and in Unicode NFC, then compared byte for byte. */
            externalIdentifier: string;
            /** @description RFC 5321 mailbox; unique within the tenant in its canonical form. */
            email?: string;
            /** @description Phone number, returned in E.164; unique within the tenant. */
            phoneNumber?: string;
            /** @description Form of address. */
            salutation?: string;
            /** @description Given name. */
            firstName?: string;
            /** @description Family name. */
            lastName?: string;
            /**
             * @description Gender.
             * @enum {string}
             */
            gender?: "Female" | "Male" | "Diverse" | "Unspecified";
            /**
             * @description Natural or legal person.
             * @enum {string}
             */
            legalType: "Individual" | "Corporate";
            /** @description Postal address for bills. */
            primaryBillingAddress?: {
                /** @description Street and house number. */
                street?: string;
                /** @description Second line of the address. */
                street2?: string;
                /** @description City. */
                city?: string;
                /** @description Postal code. */
                postalCode?: string;
                /** @description State or province. */
                state?: string;
                /** @description ISO 3166-1 alpha-2. */
                countryCode: string;
            };
            /** @description Required where legalType is Corporate. */
            corporationInfo?: {
                /** @description Registered name. */
                companyName: string;
                /** @description Tax number. */
                taxNumber?: string;
                /** @description Tax office. */
                taxOffice?: string;
                /** @description Number in the commercial register. */
                registrationNumber?: string;
            };
            /** @description Consents to be contacted. */
            privacy: {
                /** @description May be contacted by e-mail. */
                emailConsent: boolean;
                /** @description May be contacted by SMS. */
                smsConsent: boolean;
                /** @description May be called. */
                phoneConsent: boolean;
                /** @description May be sent push notifications. */
                pushConsent: boolean;
                /** @description May be profiled. */
                profilingConsent: boolean;
            };
            /** @enum {string} */
            status: "Active" | "Inactive" | "Churned" | "Blocked" | "Anonymized";
            /** @description The region that the customer claims; national phone numbers are read in it. */
            claimedRegion: {
                /** @description ISO 3166-1 alpha-2. */
                countryCode: string;
                /** @description ISO 639-1. */
                languageCode: string;
            };
            /** @description A number that grows with every change of the customer in the tenant's system, such as a row version or a change time. */
            sourceRevision?: number;
            /**
             * Format: date-time
             * @description ISO 8601, UTC, milliseconds.
             */
            createdAt: string;
            /**
             * Format: date-time
             * @description ISO 8601, UTC, milliseconds.
             */
            updatedAt: string;
            /**
             * Format: date-time
             * @description ISO 8601, UTC, milliseconds.
             */
            anonymizedAt?: string;
            /** @description The customer into which this one was merged, if it was merged. */
            mergedInto?: string;
            options: {
                /** @description Payment channels open to this customer. */
                availableChannels: string[];
                canSavePaymentMethod: boolean;
            };
            /** @description The references of the kind `subscription` that are bound to the customer, counted by their state. */
            subscriptionSummary: {
                total: number;
                active: number;
                canceled: number;
            };
        };
        SignedReceipt: {
            receipt: {
                /** @constant */
                receiptVersion: 1;
                tenant: string;
                customerUrn: string;
                /**
                 * Format: date-time
                 * @description ISO 8601, UTC, milliseconds.
                 */
                erasedAt: string;
                /** @description The API key that requested the erasure. */
                keyId: string;
                /** @description The id of that request. */
                requestId: string;
                /** @description The tenant's own case number, if the request had one. */
                reference?: string;
                /** @description Fields that had a value and were rewritten or removed; null where the list was lost. */
                rewritten: string[] | null;
                /** @description The retained fields, each with its legal ground. */
                kept: {
                    field: string;
                    ground: string;
                }[];
                dataKeyDestroyed: boolean;
                /** @description The position in the tenant's erasure log, and the chain value of all entries up to it (base64url). */
                erasureLog: {
                    sequence: number;
                    chain: string;
                } | null;
                residualScan: {
                    /**
                     * Format: date-time
                     * @description ISO 8601, UTC, milliseconds.
                     */
                    scannedAt: string;
                    clean: boolean;
                    findings: {
                        /** @enum {string} */
                        kind: "data_key" | "keys_log" | "keys_copy" | "record" | "blind_index" | "records_log" | "records_copy";
                        place: string;
                        found: number;
                    }[];
                    /** @description Places that the scan cannot read. */
                    unseen: string[];
                };
            };
            signature: {
                /** @constant */
                algorithm: "Ed25519";
                /** @description base64url */
                publicKey: string;
                /** @description base64url */
                value: string;
            };
        };
        ChangeEvent: {
            /**
             * Format: uuid
             * @description Equal ids are the same event.
             */
            id: string;
            /**
             * @description What was done to the customer. More types may be added.
             * @enum {string}
             */
            type: "customer.stored" | "customer.updated" | "customer.merged" | "customer.anonymized";
            customerUrn: string;
            /** @description The version that the change made: without gaps for a customer. */
            version: number;
            /**
             * Format: date-time
             * @description ISO 8601, UTC, milliseconds.
             */
            at: string;
            /** @description The names of the changed fields; never their values. */
            changedFields: string[];
            actor: {
                /** @description The API key of the request, or the command of an operator. */
                keyId: string;
                /** @description The id of the request. */
                requestId: string;
            };
            /** @description That of the customer, if it has one. */
            sourceRevision?: number;
            /** @description Of a merge: into which customer. */
            mergedInto?: string;
        };
        Access: {
            /**
             * Format: date-time
             * @description ISO 8601, UTC, milliseconds.
             */
            at: string;
            /**
             * @description By what the customer was looked at.
             * @enum {string}
             */
            operation: "find" | "subject-export";
            actor: {
                /** @description The API key of the request, or the command of an operator. */
                keyId: string;
                /** @description The id of the request. */
                requestId: string;
            };
            /** @description The tenant's own case number, if the request had one. */
            reference?: string;
        };
        Reference: {
            /** @description The customer; after a merge, the one into which it was merged. */
            customerUrn: string;
            /**
             * @description What the reference names.
             * @enum {string}
             */
            kind: "offer" | "checkout" | "paymentMethod" | "subscription";
            /** @description The flow's own identifier: 1 to 64 visible ASCII characters. Must not be personal data. */
            reference: string;
            /**
             * @description Its state.
             * @enum {string}
             */
            state: "active" | "canceled";
            /**
             * Format: date-time
             * @description ISO 8601, UTC, milliseconds.
             */
            createdAt: string;
            /**
             * Format: date-time
             * @description ISO 8601, UTC, milliseconds.
             */
            updatedAt: string;
        };
        ImportRow: {
            customer: components["schemas"]["CustomerState"];
            /** @description The region that the customer claims; national phone numbers are read in it. */
            claimedRegion: {
                /** @description ISO 3166-1 alpha-2. */
                countryCode: string;
                /** @description ISO 639-1. */
                languageCode: string;
            };
            /** @description A number that grows with every change of the customer in the tenant's system, such as a row version or a change time. */
            sourceRevision?: number | null;
        } | {
            /** @description The customer to erase. */
            delete: {
                /** @description The CustomerUrn; the name of the field is historical. */
                customerUuid?: string | null;
                /** @description The CustomerUrn. */
                customerUrn?: string | null;
                /** @description The tenant's own identifier of the customer. */
                externalIdentifier?: string | null;
                /** @description A number that grows with every change of the customer in the tenant's system, such as a row version or a change time. */
                sourceRevision?: number | null;
            };
        } | components["schemas"]["Customer"];
        ImportAnswer: {
            /** @description The line of the row. */
            line: number;
            /** @enum {string} */
            outcome: "created" | "updated" | "unchanged" | "stale" | "erased";
            customerUrn?: string;
            version?: number;
            /** @description With the outcome updated: the names of the changed fields. Empty if only the sourceRevision is newer. */
            changedFields?: string[];
        } | {
            /** @description The line of the row. */
            line: number;
            /** @constant */
            outcome: "refused";
            status: {
                /** @enum {string} */
                messageCode: "BAD_REQUEST" | "INVALID_REQUEST" | "FORBIDDEN" | "CUSTOMER_NOT_FOUND" | "ERASURE_NOT_FOUND" | "NOT_FOUND" | "METHOD_NOT_ALLOWED" | "CUSTOMER_MERGED" | "CUSTOMER_ANONYMIZED" | "REFERENCE_OF_ANOTHER_CUSTOMER" | "CUSTOMER_ALREADY_STORED" | "USER_WITH_SAME_EMAIL_EXISTS" | "USER_WITH_SAME_PHONE_NUMBER_EXISTS" | "STALE_REVISION" | "REVISION_CONFLICT" | "CURSOR_FROM_BEFORE_A_RESTORE" | "REQUEST_IN_PROGRESS" | "VERSION_MISMATCH" | "PAYLOAD_TOO_LARGE" | "UNSUPPORTED_MEDIA_TYPE" | "IDEMPOTENCY_KEY_REUSED" | "TOO_MANY_REQUESTS" | "HEADERS_TOO_LARGE" | "SQL_DATABASE_FAILURE" | "INTERNAL_SERVER_ERROR" | "SERVICE_UNAVAILABLE";
                /** @description One sentence; never repeats a submitted value. */
                message: string;
                /** @description Only with INVALID_REQUEST: all violations. */
                errors?: components["schemas"]["Violation"][];
                conflicts?: {
                    /** @description Path from the root of the request. */
                    field: string;
                    /** @enum {string} */
                    messageCode: "CUSTOMER_ALREADY_STORED" | "USER_WITH_SAME_EMAIL_EXISTS" | "USER_WITH_SAME_PHONE_NUMBER_EXISTS";
                    /** @description The customer that holds the value. */
                    customerUrn?: string;
                }[];
            };
        } | {
            /** @constant */
            outcome: "extra";
            customerUrn: string;
            externalIdentifier: string;
        } | {
            summary: {
                created: number;
                updated: number;
                unchanged: number;
                stale: number;
                erased: number;
                refused: number;
                extra?: number;
            };
            status: components["schemas"]["Success"] | components["schemas"]["ErrorStatus"];
        };
        SubjectExport: {
            tenant: string;
            /**
             * Format: date-time
             * @description ISO 8601, UTC, milliseconds.
             */
            exportedAt: string;
            /** @description The record; after an erasure the anonymized record, or null where that was lost. */
            record: components["schemas"]["Customer"] | null;
            /** @description The source of the record; absent where there is no record. */
            provenance?: {
                /** @description Where the data comes from (Art. 15(1)(g)). */
                source: string;
                /**
                 * Format: date-time
                 * @description ISO 8601, UTC, milliseconds.
                 */
                firstReceivedAt: string;
                /**
                 * Format: date-time
                 * @description ISO 8601, UTC, milliseconds.
                 */
                lastChangedAt: string;
                version: number;
                /** @description The first write; absent after an erasure. */
                storedBy?: {
                    /** @description The API key of the request. */
                    keyId: string;
                    /** @description The id of the request. */
                    requestId: string;
                };
                /** @description The last update, if there was one. */
                changedBy?: {
                    /** @description The API key of the request. */
                    keyId: string;
                    /** @description The id of the request. */
                    requestId: string;
                };
            };
            /** @description Data that was derived from the record, in words. */
            derived: string[];
            /** @description What flows have bound to the customer, ordered by kind and reference. */
            references: components["schemas"]["Reference"][];
            /** @description The stored results of requests with an Idempotency-Key. */
            idempotencyRecords: {
                code: string;
                /**
                 * Format: date-time
                 * @description ISO 8601, UTC, milliseconds.
                 */
                keptUntil: string;
            }[];
            /** @description Files that a restore replaced and that still contain data of the customer. */
            copies: string[];
            /** @description Places that could not be searched. */
            unseen: string[];
            /** @description The customer's erasure, or its merge into another one; absent where there was none. */
            erasure?: {
                /**
                 * Format: date-time
                 * @description ISO 8601, UTC, milliseconds.
                 */
                erasedAt: string;
                /** @description The API key of the request. */
                keyId: string;
                /** @description The id of the request. */
                requestId: string;
                /** @description The tenant's own case number, if the delete had one. */
                reference?: string;
                /** @description Fields that had a value and were rewritten or removed; absent where the list was lost. */
                rewritten?: string[];
                /** @description The customer into which it was merged, if it was merged. */
                mergedInto?: string;
            };
        };
        CustomerDto: {
            /** @description The tenant's own identifier of the customer: 1 to 128 characters, trimmed and in Unicode NFC, then compared byte for byte. */
            externalIdentifier: string;
            /** @description RFC 5321 mailbox; unique within the tenant in its canonical form. */
            email?: string | null;
            /** @description Phone number, returned in E.164; unique within the tenant. */
            phoneNumber?: string | null;
            /** @description Form of address. */
            salutation?: string | null;
            /** @description Given name. */
            firstName?: string | null;
            /** @description Family name. */
            lastName?: string | null;
            /**
             * @description Gender.
             * @enum {string|null}
             */
            gender?: "Female" | "Male" | "Diverse" | "Unspecified" | null;
            /**
             * @description Natural or legal person. Default: Individual.
             * @enum {string|null}
             */
            legalType?: "Individual" | "Corporate" | null;
            /** @description Postal address for bills. */
            primaryBillingAddress?: {
                /** @description Street and house number. */
                street?: string | null;
                /** @description Second line of the address. */
                street2?: string | null;
                /** @description City. */
                city?: string | null;
                /** @description Postal code. */
                postalCode?: string | null;
                /** @description State or province. */
                state?: string | null;
                /** @description ISO 3166-1 alpha-2. */
                countryCode: string;
            } | null;
            /** @description Required where legalType is Corporate. */
            corporationInfo?: {
                /** @description Registered name. */
                companyName: string;
                /** @description Tax number. */
                taxNumber?: string | null;
                /** @description Tax office. */
                taxOffice?: string | null;
                /** @description Number in the commercial register. */
                registrationNumber?: string | null;
            } | null;
            /** @description Consents to be contacted. */
            privacy?: {
                /** @description May be contacted by e-mail. Default: false. */
                emailConsent?: boolean | null;
                /** @description May be contacted by SMS. Default: false. */
                smsConsent?: boolean | null;
                /** @description May be called. Default: false. */
                phoneConsent?: boolean | null;
                /** @description May be sent push notifications. Default: false. */
                pushConsent?: boolean | null;
                /** @description May be profiled. Default: false. */
                profilingConsent?: boolean | null;
            } | null;
            /**
             * @description The status that the tenant asserts. Default: Active.
             * @enum {string|null}
             */
            status?: "Active" | "Inactive" | "Churned" | "Blocked" | null;
        };
        CustomerChange: {
            /** @description Names the record; else externalIdentifier does. */
            customerUrn?: string | null;
            /** @description The tenant's own identifier of the customer: 1 to 128 characters, trimmed and in Unicode NFC, then compared byte for byte. */
            externalIdentifier?: string;
            /** @description RFC 5321 mailbox; unique within the tenant in its canonical form. */
            email?: string | null;
            /** @description Phone number, returned in E.164; unique within the tenant. */
            phoneNumber?: string | null;
            /** @description Form of address. */
            salutation?: string | null;
            /** @description Given name. */
            firstName?: string | null;
            /** @description Family name. */
            lastName?: string | null;
            /**
             * @description Gender.
             * @enum {string|null}
             */
            gender?: "Female" | "Male" | "Diverse" | "Unspecified" | null;
            /**
             * @description Natural or legal person. Default: Individual.
             * @enum {string|null}
             */
            legalType?: "Individual" | "Corporate" | null;
            /** @description Postal address for bills. */
            primaryBillingAddress?: {
                /** @description Street and house number. */
                street?: string | null;
                /** @description Second line of the address. */
                street2?: string | null;
                /** @description City. */
                city?: string | null;
                /** @description Postal code. */
                postalCode?: string | null;
                /** @description State or province. */
                state?: string | null;
                /** @description ISO 3166-1 alpha-2. */
                countryCode?: string | null;
            } | null;
            /** @description Required where legalType is Corporate. */
            corporationInfo?: {
                /** @description Registered name. */
                companyName?: string | null;
                /** @description Tax number. */
                taxNumber?: string | null;
                /** @description Tax office. */
                taxOffice?: string | null;
                /** @description Number in the commercial register. */
                registrationNumber?: string | null;
            } | null;
            /** @description Consents to be contacted. */
            privacy?: {
                /** @description May be contacted by e-mail. Default: false. */
                emailConsent?: boolean | null;
                /** @description May be contacted by SMS. Default: false. */
                smsConsent?: boolean | null;
                /** @description May be called. Default: false. */
                phoneConsent?: boolean | null;
                /** @description May be sent push notifications. Default: false. */
                pushConsent?: boolean | null;
                /** @description May be profiled. Default: false. */
                profilingConsent?: boolean | null;
            } | null;
            /**
             * @description The status that the tenant asserts. Default: Active.
             * @enum {string|null}
             */
            status?: "Active" | "Inactive" | "Churned" | "Blocked" | null;
        };
        Success: {
            /** @constant */
            messageCode: "SUCCESS";
        };
        Violation: {
            /** @description Path from the root of the request. */
            field: string;
            /** @enum {string} */
            code: "required" | "invalid_type" | "invalid_format" | "invalid_value" | "too_long" | "reserved" | "unknown_field" | "exactly_one";
            /** @description One sentence; never repeats a submitted value. */
            message: string;
        };
        Conflict: {
            /** @description Path from the root of the request. */
            field: string;
            /** @enum {string} */
            messageCode: "CUSTOMER_ALREADY_STORED" | "USER_WITH_SAME_EMAIL_EXISTS" | "USER_WITH_SAME_PHONE_NUMBER_EXISTS";
            /** @description The customer that holds the value. */
            customerUrn: string;
        };
        ErrorStatus: {
            /** @enum {string} */
            messageCode: "BAD_REQUEST" | "INVALID_REQUEST" | "FORBIDDEN" | "CUSTOMER_NOT_FOUND" | "ERASURE_NOT_FOUND" | "NOT_FOUND" | "METHOD_NOT_ALLOWED" | "CUSTOMER_MERGED" | "CUSTOMER_ANONYMIZED" | "REFERENCE_OF_ANOTHER_CUSTOMER" | "CUSTOMER_ALREADY_STORED" | "USER_WITH_SAME_EMAIL_EXISTS" | "USER_WITH_SAME_PHONE_NUMBER_EXISTS" | "STALE_REVISION" | "REVISION_CONFLICT" | "CURSOR_FROM_BEFORE_A_RESTORE" | "REQUEST_IN_PROGRESS" | "VERSION_MISMATCH" | "PAYLOAD_TOO_LARGE" | "UNSUPPORTED_MEDIA_TYPE" | "IDEMPOTENCY_KEY_REUSED" | "TOO_MANY_REQUESTS" | "HEADERS_TOO_LARGE" | "SQL_DATABASE_FAILURE" | "INTERNAL_SERVER_ERROR" | "SERVICE_UNAVAILABLE";
            /** @description One sentence; never repeats a submitted value. */
            message: string;
            /** @description Only with INVALID_REQUEST: all violations. */
            errors?: components["schemas"]["Violation"][];
            /** @description Only with the code of a conflict: all conflicts with other customers; the first has this code. */
            conflicts?: components["schemas"]["Conflict"][];
        };
        ErrorEnvelope: {
            /** @constant */
            result: string | null;
            status: components["schemas"]["ErrorStatus"];
        };
        BareErrorEnvelope: {
            status: components["schemas"]["ErrorStatus"];
        };
    };
    responses: never;
    parameters: never;
    requestBodies: never;
    headers: never;
    pathItems: never;
}
export type $defs = Record<string, never>;
export interface operations {
    validate: {
        parameters: {
            query?: never;
            header?: {
                /** @description Returned with the answer and written to the log; another value is replaced by a new id. */
                "x-request-id"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    /** @description The tenant's own identifier of the customer. */
                    externalId: string;
                } | {
                    customer: components["schemas"]["CustomerState"];
                    /** @description The region that the customer claims; national phone numbers are read in it. */
                    claimedRegion: {
                        /** @description ISO 3166-1 alpha-2. */
                        countryCode: string;
                        /** @description ISO 639-1. */
                        languageCode: string;
                    };
                    /** @description A number that grows with every change of the customer in the tenant's system, such as a row version or a change time. */
                    sourceRevision?: number | null;
                };
            };
        };
        responses: {
            /** @description Whether the ExternalId is free; for a customer also what sync would do. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/clientOutput+Json; charset=utf-8": {
                        /** @description Whether no customer has the ExternalId. */
                        isAvailable: boolean;
                        /** @enum {string} */
                        outcome?: "created" | "updated" | "unchanged" | "stale";
                        /** @description With the outcome updated: the names of the changed fields. Empty if only the sourceRevision is newer. */
                        changedFields?: string[];
                        /** @description What sync would store; null if the outcome is stale. */
                        result?: components["schemas"]["CustomerPreview"] | null;
                        status: components["schemas"]["Success"];
                    };
                };
            };
            /** @description Authentication failed. The body is empty, and the answer is the same for every reason. */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description The request was refused. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/clientOutput+Json; charset=utf-8": {
                        status: components["schemas"]["ErrorStatus"] & {
                            /** @enum {unknown} */
                            messageCode: "BAD_REQUEST" | "INVALID_REQUEST" | "FORBIDDEN" | "CUSTOMER_NOT_FOUND" | "CUSTOMER_ALREADY_STORED" | "USER_WITH_SAME_EMAIL_EXISTS" | "USER_WITH_SAME_PHONE_NUMBER_EXISTS" | "REVISION_CONFLICT" | "PAYLOAD_TOO_LARGE" | "UNSUPPORTED_MEDIA_TYPE" | "TOO_MANY_REQUESTS" | "HEADERS_TOO_LARGE" | "SQL_DATABASE_FAILURE" | "INTERNAL_SERVER_ERROR" | "SERVICE_UNAVAILABLE";
                        };
                    };
                };
            };
        };
    };
    store: {
        parameters: {
            query?: never;
            header?: {
                /** @description Returned with the answer and written to the log; another value is replaced by a new id. */
                "x-request-id"?: string;
                /** @description Only success is kept: within 24 hours, a retry of a successful request with the same key changes nothing and gets SUCCESS, with the record as it is now if the operation returns one. A retry of a refused request is judged anew. */
                "idempotency-key"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    customer: components["schemas"]["CustomerDto"];
                    /** @description The region that the customer claims; national phone numbers are read in it. */
                    claimedRegion: {
                        /** @description ISO 3166-1 alpha-2. */
                        countryCode: string;
                        /** @description ISO 639-1. */
                        languageCode: string;
                    };
                    /** @description A number that grows with every change of the customer in the tenant's system, such as a row version or a change time. */
                    sourceRevision?: number | null;
                };
            };
        };
        responses: {
            /** @description The customer as stored. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/clientOutput+Json; charset=utf-8": {
                        result: components["schemas"]["Customer"];
                        status: components["schemas"]["Success"];
                    };
                };
            };
            /** @description Authentication failed. The body is empty, and the answer is the same for every reason. */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description The request was refused. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/clientOutput+Json; charset=utf-8": {
                        status: components["schemas"]["ErrorStatus"] & {
                            /** @enum {unknown} */
                            messageCode: "BAD_REQUEST" | "INVALID_REQUEST" | "FORBIDDEN" | "REQUEST_IN_PROGRESS" | "CUSTOMER_ALREADY_STORED" | "USER_WITH_SAME_EMAIL_EXISTS" | "USER_WITH_SAME_PHONE_NUMBER_EXISTS" | "STALE_REVISION" | "PAYLOAD_TOO_LARGE" | "UNSUPPORTED_MEDIA_TYPE" | "IDEMPOTENCY_KEY_REUSED" | "TOO_MANY_REQUESTS" | "HEADERS_TOO_LARGE" | "SQL_DATABASE_FAILURE" | "INTERNAL_SERVER_ERROR" | "SERVICE_UNAVAILABLE";
                        };
                    };
                };
            };
        };
    };
    delete: {
        parameters: {
            query?: never;
            header?: {
                /** @description Returned with the answer and written to the log; another value is replaced by a new id. */
                "x-request-id"?: string;
                /** @description Only success is kept: within 24 hours, a retry of a successful request with the same key changes nothing and gets SUCCESS, with the record as it is now if the operation returns one. A retry of a refused request is judged anew. */
                "idempotency-key"?: string;
                /** @description Changes the record only at this version (an ETag). */
                "if-match"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    /** @description The CustomerUrn; the name of the field is historical. */
                    customerUuid: string;
                    /** @description A number that grows with every change of the customer in the tenant's system, such as a row version or a change time. */
                    sourceRevision?: number | null;
                    /** @description The tenant's own case number; signed into the erasure receipt. */
                    reference?: string | null;
                } | {
                    /** @description The CustomerUrn. */
                    customerUrn: string;
                    /** @description A number that grows with every change of the customer in the tenant's system, such as a row version or a change time. */
                    sourceRevision?: number | null;
                    /** @description The tenant's own case number; signed into the erasure receipt. */
                    reference?: string | null;
                } | {
                    /** @description The tenant's own identifier of the customer. */
                    externalIdentifier: string;
                    /** @description A number that grows with every change of the customer in the tenant's system, such as a row version or a change time. */
                    sourceRevision?: number | null;
                    /** @description The tenant's own case number; signed into the erasure receipt. */
                    reference?: string | null;
                };
            };
        };
        responses: {
            /** @description No personal data remains. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/clientOutput+Json; charset=utf-8": {
                        status: components["schemas"]["Success"];
                    };
                };
            };
            /** @description Authentication failed. The body is empty, and the answer is the same for every reason. */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description The request was refused. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/clientOutput+Json; charset=utf-8": {
                        status: components["schemas"]["ErrorStatus"] & {
                            /** @enum {unknown} */
                            messageCode: "BAD_REQUEST" | "INVALID_REQUEST" | "FORBIDDEN" | "CUSTOMER_NOT_FOUND" | "REQUEST_IN_PROGRESS" | "CUSTOMER_MERGED" | "STALE_REVISION" | "VERSION_MISMATCH" | "PAYLOAD_TOO_LARGE" | "UNSUPPORTED_MEDIA_TYPE" | "IDEMPOTENCY_KEY_REUSED" | "TOO_MANY_REQUESTS" | "HEADERS_TOO_LARGE" | "SQL_DATABASE_FAILURE" | "INTERNAL_SERVER_ERROR" | "SERVICE_UNAVAILABLE";
                        };
                    };
                };
            };
        };
    };
    update: {
        parameters: {
            query?: never;
            header?: {
                /** @description Returned with the answer and written to the log; another value is replaced by a new id. */
                "x-request-id"?: string;
                /** @description Only success is kept: within 24 hours, a retry of a successful request with the same key changes nothing and gets SUCCESS, with the record as it is now if the operation returns one. A retry of a refused request is judged anew. */
                "idempotency-key"?: string;
                /** @description Changes the record only at this version (an ETag). */
                "if-match"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    customer: components["schemas"]["CustomerChange"];
                    /** @description The region that the customer claims; national phone numbers are read in it. */
                    claimedRegion?: {
                        /** @description ISO 3166-1 alpha-2. */
                        countryCode?: string;
                        /** @description ISO 639-1. */
                        languageCode?: string;
                    };
                    /** @description A number that grows with every change of the customer in the tenant's system, such as a row version or a change time. */
                    sourceRevision?: number | null;
                };
            };
        };
        responses: {
            /** @description The customer as changed. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/clientOutput+Json; charset=utf-8": {
                        result: components["schemas"]["Customer"];
                        status: components["schemas"]["Success"];
                    };
                };
            };
            /** @description Authentication failed. The body is empty, and the answer is the same for every reason. */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description The request was refused. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/clientOutput+Json; charset=utf-8": {
                        status: components["schemas"]["ErrorStatus"] & {
                            /** @enum {unknown} */
                            messageCode: "BAD_REQUEST" | "INVALID_REQUEST" | "FORBIDDEN" | "CUSTOMER_NOT_FOUND" | "REQUEST_IN_PROGRESS" | "CUSTOMER_ALREADY_STORED" | "USER_WITH_SAME_EMAIL_EXISTS" | "USER_WITH_SAME_PHONE_NUMBER_EXISTS" | "STALE_REVISION" | "REVISION_CONFLICT" | "VERSION_MISMATCH" | "PAYLOAD_TOO_LARGE" | "UNSUPPORTED_MEDIA_TYPE" | "IDEMPOTENCY_KEY_REUSED" | "TOO_MANY_REQUESTS" | "HEADERS_TOO_LARGE" | "SQL_DATABASE_FAILURE" | "INTERNAL_SERVER_ERROR" | "SERVICE_UNAVAILABLE";
                        };
                    };
                };
            };
        };
    };
    info: {
        parameters: {
            query?: {
                /** @description The CustomerUrn; wins where both are given. */
                urn?: string;
                /** @description The tenant's own identifier of the customer. */
                exId?: string;
            };
            header?: {
                /** @description Returned with the answer and written to the log; another value is replaced by a new id. */
                "x-request-id"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The customer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/clientOutput+Json; charset=utf-8": {
                        result: components["schemas"]["Snapshot"];
                        status: components["schemas"]["Success"];
                    };
                };
            };
            /** @description Authentication failed. The body is empty, and the answer is the same for every reason. */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description The request was refused. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/clientOutput+Json; charset=utf-8": {
                        status: components["schemas"]["ErrorStatus"] & {
                            /** @enum {unknown} */
                            messageCode: "INVALID_REQUEST" | "BAD_REQUEST" | "CUSTOMER_NOT_FOUND" | "TOO_MANY_REQUESTS" | "HEADERS_TOO_LARGE" | "SQL_DATABASE_FAILURE" | "INTERNAL_SERVER_ERROR" | "SERVICE_UNAVAILABLE";
                        };
                    };
                };
            };
        };
    };
    erasure: {
        parameters: {
            query: {
                /** @description The CustomerUrn. */
                urn: string;
            };
            header?: {
                /** @description Returned with the answer and written to the log; another value is replaced by a new id. */
                "x-request-id"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The receipt. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/clientOutput+Json; charset=utf-8": {
                        result: components["schemas"]["SignedReceipt"];
                        status: components["schemas"]["Success"];
                    };
                };
            };
            /** @description Authentication failed. The body is empty, and the answer is the same for every reason. */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description The request was refused. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/clientOutput+Json; charset=utf-8": {
                        status: components["schemas"]["ErrorStatus"] & {
                            /** @enum {unknown} */
                            messageCode: "INVALID_REQUEST" | "BAD_REQUEST" | "FORBIDDEN" | "ERASURE_NOT_FOUND" | "TOO_MANY_REQUESTS" | "HEADERS_TOO_LARGE" | "SQL_DATABASE_FAILURE" | "INTERNAL_SERVER_ERROR" | "SERVICE_UNAVAILABLE";
                        };
                    };
                };
            };
        };
    };
    find: {
        parameters: {
            query?: never;
            header?: {
                /** @description Returned with the answer and written to the log; another value is replaced by a new id. */
                "x-request-id"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    /** @description The e-mail address, compared in its canonical form. */
                    email: string;
                    /** @description The tenant's own case number: the reason, kept in the history of the customer. */
                    reference?: string | null;
                } | {
                    /** @description The phone number, compared in E.164. */
                    phoneNumber: string;
                    /** @description ISO 3166-1 alpha-2: the country in which a number without "+" is read. */
                    countryCode?: string | null;
                    /** @description The tenant's own case number: the reason, kept in the history of the customer. */
                    reference?: string | null;
                };
            };
        };
        responses: {
            /** @description The customer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/clientOutput+Json; charset=utf-8": {
                        result: components["schemas"]["Snapshot"];
                        status: components["schemas"]["Success"];
                    };
                };
            };
            /** @description Authentication failed. The body is empty, and the answer is the same for every reason. */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description The request was refused. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/clientOutput+Json; charset=utf-8": {
                        status: components["schemas"]["ErrorStatus"] & {
                            /** @enum {unknown} */
                            messageCode: "BAD_REQUEST" | "INVALID_REQUEST" | "FORBIDDEN" | "CUSTOMER_NOT_FOUND" | "PAYLOAD_TOO_LARGE" | "UNSUPPORTED_MEDIA_TYPE" | "TOO_MANY_REQUESTS" | "HEADERS_TOO_LARGE" | "SQL_DATABASE_FAILURE" | "INTERNAL_SERVER_ERROR" | "SERVICE_UNAVAILABLE";
                        };
                    };
                };
            };
        };
    };
    changes: {
        parameters: {
            query?: {
                /** @description Opaque: the `next` of an earlier answer; or `end`, the end of the feed. Absent: its beginning. */
                after?: string;
                /** @description How many events to return at most, 1 to 1000. Absent: 1000. */
                limit?: number;
                /** @description If there is no event: how many seconds to wait for one, 0 to 30. Absent: 0. */
                wait?: number;
            };
            header?: {
                /** @description Returned with the answer and written to the log; another value is replaced by a new id. */
                "x-request-id"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The events; none at the end of the feed. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/clientOutput+Json; charset=utf-8": {
                        result: {
                            changes: components["schemas"]["ChangeEvent"][];
                            /** @description The `after` of the next request. */
                            next: string;
                        };
                        status: components["schemas"]["Success"];
                    };
                };
            };
            /** @description Authentication failed. The body is empty, and the answer is the same for every reason. */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description The request was refused. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/clientOutput+Json; charset=utf-8": {
                        status: components["schemas"]["ErrorStatus"] & {
                            /** @enum {unknown} */
                            messageCode: "INVALID_REQUEST" | "BAD_REQUEST" | "FORBIDDEN" | "CURSOR_FROM_BEFORE_A_RESTORE" | "TOO_MANY_REQUESTS" | "HEADERS_TOO_LARGE" | "SQL_DATABASE_FAILURE" | "INTERNAL_SERVER_ERROR" | "SERVICE_UNAVAILABLE";
                        };
                    };
                };
            };
        };
    };
    history: {
        parameters: {
            query?: {
                /** @description The CustomerUrn; wins where both are given. */
                urn?: string;
                /** @description The tenant's own identifier of the customer. */
                exId?: string;
            };
            header?: {
                /** @description Returned with the answer and written to the log; another value is replaced by a new id. */
                "x-request-id"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The history of the customer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/clientOutput+Json; charset=utf-8": {
                        result: {
                            changes: components["schemas"]["ChangeEvent"][];
                            accesses: components["schemas"]["Access"][];
                        };
                        status: components["schemas"]["Success"];
                    };
                };
            };
            /** @description Authentication failed. The body is empty, and the answer is the same for every reason. */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description The request was refused. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/clientOutput+Json; charset=utf-8": {
                        status: components["schemas"]["ErrorStatus"] & {
                            /** @enum {unknown} */
                            messageCode: "INVALID_REQUEST" | "BAD_REQUEST" | "FORBIDDEN" | "CUSTOMER_NOT_FOUND" | "TOO_MANY_REQUESTS" | "HEADERS_TOO_LARGE" | "SQL_DATABASE_FAILURE" | "INTERNAL_SERVER_ERROR" | "SERVICE_UNAVAILABLE";
                        };
                    };
                };
            };
        };
    };
    subjectExport: {
        parameters: {
            query?: never;
            header?: {
                /** @description Returned with the answer and written to the log; another value is replaced by a new id. */
                "x-request-id"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    /** @description The CustomerUrn; the name of the field is historical. */
                    customerUuid: string;
                    /** @description The tenant's own case number: the reason, kept in the history of the customer. */
                    reference?: string | null;
                } | {
                    /** @description The CustomerUrn. */
                    customerUrn: string;
                    /** @description The tenant's own case number: the reason, kept in the history of the customer. */
                    reference?: string | null;
                } | {
                    /** @description The tenant's own identifier of the customer. */
                    externalIdentifier: string;
                    /** @description The tenant's own case number: the reason, kept in the history of the customer. */
                    reference?: string | null;
                };
            };
        };
        responses: {
            /** @description All data about the customer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/clientOutput+Json; charset=utf-8": {
                        result: components["schemas"]["SubjectExport"];
                        status: components["schemas"]["Success"];
                    };
                };
            };
            /** @description Authentication failed. The body is empty, and the answer is the same for every reason. */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description The request was refused. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/clientOutput+Json; charset=utf-8": {
                        status: components["schemas"]["ErrorStatus"] & {
                            /** @enum {unknown} */
                            messageCode: "BAD_REQUEST" | "INVALID_REQUEST" | "FORBIDDEN" | "CUSTOMER_NOT_FOUND" | "PAYLOAD_TOO_LARGE" | "UNSUPPORTED_MEDIA_TYPE" | "TOO_MANY_REQUESTS" | "HEADERS_TOO_LARGE" | "SQL_DATABASE_FAILURE" | "INTERNAL_SERVER_ERROR" | "SERVICE_UNAVAILABLE";
                        };
                    };
                };
            };
        };
    };
    sync: {
        parameters: {
            query?: never;
            header?: {
                /** @description Returned with the answer and written to the log; another value is replaced by a new id. */
                "x-request-id"?: string;
                /** @description Only success is kept: within 24 hours, a retry of a successful request with the same key changes nothing and gets SUCCESS, with the record as it is now if the operation returns one. A retry of a refused request is judged anew. */
                "idempotency-key"?: string;
                /** @description Changes the record only at this version (an ETag). */
                "if-match"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    customer: components["schemas"]["CustomerState"];
                    /** @description The region that the customer claims; national phone numbers are read in it. */
                    claimedRegion: {
                        /** @description ISO 3166-1 alpha-2. */
                        countryCode: string;
                        /** @description ISO 639-1. */
                        languageCode: string;
                    };
                    /** @description A number that grows with every change of the customer in the tenant's system, such as a row version or a change time. */
                    sourceRevision?: number | null;
                };
            };
        };
        responses: {
            /** @description What the request did. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/clientOutput+Json; charset=utf-8": {
                        /** @description The customer as it is now; null with the outcome stale. */
                        result: components["schemas"]["Customer"] | null;
                        /** @enum {string} */
                        outcome: "created" | "updated" | "unchanged" | "stale";
                        /** @description With the outcome updated: the names of the changed fields. Empty if only the sourceRevision is newer. */
                        changedFields?: string[];
                        status: components["schemas"]["Success"];
                    };
                };
            };
            /** @description Authentication failed. The body is empty, and the answer is the same for every reason. */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description The request was refused. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/clientOutput+Json; charset=utf-8": {
                        status: components["schemas"]["ErrorStatus"] & {
                            /** @enum {unknown} */
                            messageCode: "BAD_REQUEST" | "INVALID_REQUEST" | "FORBIDDEN" | "CUSTOMER_NOT_FOUND" | "REQUEST_IN_PROGRESS" | "CUSTOMER_ALREADY_STORED" | "USER_WITH_SAME_EMAIL_EXISTS" | "USER_WITH_SAME_PHONE_NUMBER_EXISTS" | "REVISION_CONFLICT" | "VERSION_MISMATCH" | "PAYLOAD_TOO_LARGE" | "UNSUPPORTED_MEDIA_TYPE" | "IDEMPOTENCY_KEY_REUSED" | "TOO_MANY_REQUESTS" | "HEADERS_TOO_LARGE" | "SQL_DATABASE_FAILURE" | "INTERNAL_SERVER_ERROR" | "SERVICE_UNAVAILABLE";
                        };
                    };
                };
            };
        };
    };
    merge: {
        parameters: {
            query?: never;
            header?: {
                /** @description Returned with the answer and written to the log; another value is replaced by a new id. */
                "x-request-id"?: string;
                /** @description Only success is kept: within 24 hours, a retry of a successful request with the same key changes nothing and gets SUCCESS, with the record as it is now if the operation returns one. A retry of a refused request is judged anew. */
                "idempotency-key"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    /** @description The customer that is merged. It is anonymized; its ExternalId finds `into`. */
                    from: string;
                    /** @description The customer that stays as it is. */
                    into: string;
                    /** @description A number that grows with every change of the customer in the tenant's system, such as a row version or a change time. */
                    sourceRevision?: number | null;
                };
            };
        };
        responses: {
            /** @description The customer `into`, unchanged. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/clientOutput+Json; charset=utf-8": {
                        result: components["schemas"]["Customer"];
                        status: components["schemas"]["Success"];
                    };
                };
            };
            /** @description Authentication failed. The body is empty, and the answer is the same for every reason. */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description The request was refused. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/clientOutput+Json; charset=utf-8": {
                        status: components["schemas"]["ErrorStatus"] & {
                            /** @enum {unknown} */
                            messageCode: "BAD_REQUEST" | "INVALID_REQUEST" | "FORBIDDEN" | "CUSTOMER_NOT_FOUND" | "REQUEST_IN_PROGRESS" | "STALE_REVISION" | "PAYLOAD_TOO_LARGE" | "UNSUPPORTED_MEDIA_TYPE" | "IDEMPOTENCY_KEY_REUSED" | "TOO_MANY_REQUESTS" | "HEADERS_TOO_LARGE" | "SQL_DATABASE_FAILURE" | "INTERNAL_SERVER_ERROR" | "SERVICE_UNAVAILABLE";
                        };
                    };
                };
            };
        };
    };
    listReferences: {
        parameters: {
            query?: {
                /** @description The CustomerUrn; wins where both are given. */
                urn?: string;
                /** @description The tenant's own identifier of the customer. */
                exId?: string;
            };
            header?: {
                /** @description Returned with the answer and written to the log; another value is replaced by a new id. */
                "x-request-id"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The references. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/clientOutput+Json; charset=utf-8": {
                        result: {
                            /** @description What flows have bound to the customer, ordered by kind and reference. */
                            references: components["schemas"]["Reference"][];
                        };
                        status: components["schemas"]["Success"];
                    };
                };
            };
            /** @description Authentication failed. The body is empty, and the answer is the same for every reason. */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description The request was refused. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/clientOutput+Json; charset=utf-8": {
                        status: components["schemas"]["ErrorStatus"] & {
                            /** @enum {unknown} */
                            messageCode: "INVALID_REQUEST" | "BAD_REQUEST" | "CUSTOMER_NOT_FOUND" | "TOO_MANY_REQUESTS" | "HEADERS_TOO_LARGE" | "SQL_DATABASE_FAILURE" | "INTERNAL_SERVER_ERROR" | "SERVICE_UNAVAILABLE";
                        };
                    };
                };
            };
        };
    };
    bindReference: {
        parameters: {
            query?: never;
            header?: {
                /** @description Returned with the answer and written to the log; another value is replaced by a new id. */
                "x-request-id"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    /** @description The customer; after a merge, the one into which it was merged. */
                    customerUrn: string;
                    /**
                     * @description What the reference names.
                     * @enum {string}
                     */
                    kind: "offer" | "checkout" | "paymentMethod" | "subscription";
                    /** @description The flow's own identifier: 1 to 64 visible ASCII characters. Must not be personal data. */
                    reference: string;
                    /**
                     * @description Its state.
                     * @enum {string}
                     */
                    state: "active" | "canceled";
                };
            };
        };
        responses: {
            /** @description The reference as stored. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/clientOutput+Json; charset=utf-8": {
                        result: components["schemas"]["Reference"];
                        status: components["schemas"]["Success"];
                    };
                };
            };
            /** @description Authentication failed. The body is empty, and the answer is the same for every reason. */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description The request was refused. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/clientOutput+Json; charset=utf-8": {
                        status: components["schemas"]["ErrorStatus"] & {
                            /** @enum {unknown} */
                            messageCode: "BAD_REQUEST" | "INVALID_REQUEST" | "FORBIDDEN" | "CUSTOMER_NOT_FOUND" | "CUSTOMER_ANONYMIZED" | "REFERENCE_OF_ANOTHER_CUSTOMER" | "PAYLOAD_TOO_LARGE" | "UNSUPPORTED_MEDIA_TYPE" | "TOO_MANY_REQUESTS" | "HEADERS_TOO_LARGE" | "SQL_DATABASE_FAILURE" | "INTERNAL_SERVER_ERROR" | "SERVICE_UNAVAILABLE";
                        };
                    };
                };
            };
        };
    };
    export: {
        parameters: {
            query?: {
                /** @description Opaque: the `next` of an earlier export, which this one continues. */
                after?: string;
                /** @description How many customers to export at most, 1 to 10000. Absent: all. */
                limit?: number;
                /** @description Whether anonymized customers are exported too. Default: false. */
                includeAnonymized?: "true" | "false";
            };
            header?: {
                /** @description Returned with the answer and written to the log; another value is replaced by a new id. */
                "x-request-id"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The customers, and the line `{"next":…}`. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/x-ndjson": string;
                };
            };
            /** @description Authentication failed. The body is empty, and the answer is the same for every reason. */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description The request was refused. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/clientOutput+Json; charset=utf-8": {
                        status: components["schemas"]["ErrorStatus"] & {
                            /** @enum {unknown} */
                            messageCode: "INVALID_REQUEST" | "BAD_REQUEST" | "FORBIDDEN" | "TOO_MANY_REQUESTS" | "HEADERS_TOO_LARGE" | "SQL_DATABASE_FAILURE" | "INTERNAL_SERVER_ERROR" | "SERVICE_UNAVAILABLE";
                        };
                    };
                };
            };
        };
    };
    import: {
        parameters: {
            query?: {
                /** @description Whether nothing is stored. Default: false. */
                dryRun?: "true" | "false";
                /** @description Whether the file has all customers: others are then reported as extra. Default: false. */
                complete?: "true" | "false";
            };
            header?: {
                /** @description Returned with the answer and written to the log; another value is replaced by a new id. */
                "x-request-id"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/x-ndjson": string;
            };
        };
        responses: {
            /** @description A line for each row, and the summary. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/x-ndjson": string;
                };
            };
            /** @description Authentication failed. The body is empty, and the answer is the same for every reason. */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description The request was refused. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/clientOutput+Json; charset=utf-8": {
                        status: components["schemas"]["ErrorStatus"] & {
                            /** @enum {unknown} */
                            messageCode: "BAD_REQUEST" | "INVALID_REQUEST" | "FORBIDDEN" | "UNSUPPORTED_MEDIA_TYPE" | "TOO_MANY_REQUESTS" | "HEADERS_TOO_LARGE" | "SQL_DATABASE_FAILURE" | "INTERNAL_SERVER_ERROR" | "SERVICE_UNAVAILABLE";
                        };
                    };
                };
            };
        };
    };
    receiptKey: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The key. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json; charset=utf-8": {
                        /** @constant */
                        algorithm: "Ed25519";
                        /** @description base64url */
                        publicKey: string;
                    };
                };
            };
            /** @description The request was refused. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/clientOutput+Json; charset=utf-8": {
                        status: components["schemas"]["ErrorStatus"] & {
                            /** @enum {unknown} */
                            messageCode: "BAD_REQUEST" | "HEADERS_TOO_LARGE" | "INTERNAL_SERVER_ERROR" | "SERVICE_UNAVAILABLE";
                        };
                    };
                };
            };
        };
    };
}
